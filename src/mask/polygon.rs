// scanline rasteriser
