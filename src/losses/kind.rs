use crate::closed_enum::closed_enum;

closed_enum! {
    /// A loss that a mix may contain.
    pub enum LossKind ("loss") {
        /// Binary cross entropy.
        Bce = "bce",
        /// Soft Dice.
        Dice = "dice",
        /// Soft Jaccard.
        Jaccard = "jaccard",
        /// Focal cross entropy.
        Focal = "focal",
        /// Lovász hinge.
        Lovasz = "lovasz",
        /// Tversky, with weights of false positives and false negatives by class.
        Tversky = "tversky",
        /// Tversky to a power that stresses hard classes.
        FocalTversky = "focal-tversky",
        /// Dice over all classes at once, each weighed by the inverse square of its size.
        GeneralisedDice = "generalised-dice",
        /// Probability times signed distance to the outline.
        Boundary = "boundary",
    }
}

impl LossKind {
    /// One line for listings: what it is and where it comes from.
    pub fn describe(self) -> &'static str {
        match self {
            LossKind::Bce => {
                "binary cross entropy; options pos-weight, class-weight, label-smoothing, pixel-weight = { around = outline or gaps, factor, sigma }"
            }
            LossKind::Dice => {
                "1 - soft Dice a class over the batch (Milletari et al. 2016); options smooth, log, per-image"
            }
            LossKind::Jaccard => "1 - soft Jaccard a class over the batch; options smooth, log, per-image",
            LossKind::Focal => "cross entropy times (1 - p)^gamma (Lin et al. 2017); options gamma, alpha",
            LossKind::Lovasz => "Lovasz hinge (Berman et al. 2018); option over = class-image, image or batch",
            LossKind::Tversky => {
                "1 - Tversky index (Salehi et al. 2017); options alpha, beta by class, smooth, log, per-image"
            }
            LossKind::FocalTversky => {
                "(1 - Tversky index)^(1 / gamma) (Abraham and Khan 2019); options alpha, beta by class, gamma, smooth"
            }
            LossKind::GeneralisedDice => "generalised Dice an image (Sudre et al. 2017); option smooth",
            LossKind::Boundary => "p times signed distance in pixels (Kervadec et al. 2019); option band, in pixels",
        }
    }
}
