// The round trip to labelme: the shapes of an image as a labelme file, and the changed file back as one step.

/** The labelme file of an image: `shapes` with their numbers as groups, and the image itself, if its bytes are given. */
export function toLabelme(image, [width, height], shapes, imageData = null) {
  return {
    version: '5.5.0', flags: {},
    shapes: shapes.map(({ index, label, points }) => ({ label, points, group_id: index, description: '', shape_type: 'polygon', flags: {}, mask: null })),
    imagePath: `${image}.png`, imageData, imageHeight: height, imageWidth: width,
  };
}

/** The bytes of a file in base64. */
export async function base64(blob) {
  const bytes = new Uint8Array(await blob.arrayBuffer());
  let text = '';
  for (let at = 0; at < bytes.length; at += 0x8000) text += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
  return btoa(text);
}

/**
 * The step that makes the shapes of an edit those of a labelme file: `[[index, { label, points, dropped }], …]`. Shapes are
 * found by their numbers, or, in a file without them, by their labels. Throws an error that says what does not fit.
 */
export function fromLabelme(text, edit, bones) {
  const file = JSON.parse(text);
  if (!Array.isArray(file.shapes)) throw new Error('not a labelme file: no shapes');
  const [width, height] = edit.size;
  if (file.imageWidth && (file.imageWidth !== width || file.imageHeight !== height)) {
    throw new Error(`the file is of an image of ${file.imageWidth} x ${file.imageHeight} px, not ${width} x ${height} px`);
  }
  const shapes = edit.shapes();
  const found = new Map();
  for (const { label, points, group_id: group, shape_type: type } of file.shapes) {
    if (type && type !== 'polygon') throw new Error(`${label}: a ${type}; only polygons can be read`);
    if (!Array.isArray(points) || !points.every((point) => Array.isArray(point) && point.length === 2 && point.every(Number.isFinite))) throw new Error(`${label}: invalid points`);
    const index = shapes.find((shape) => shape.index === group)?.index ?? shapes.find((shape) => shape.label === label && !found.has(shape.index))?.index;
    if (index === undefined) throw new Error(`${label}: a new shape; shapes can be changed and removed, but not added`);
    if (found.has(index)) throw new Error(`shape ${index} occurs twice`);
    const isKnown = bones.some((bone) => bone.name === label) || edit.shape(index).label === label;
    if (!isKnown) throw new Error(`${label}: not a bone`);
    const isSame = JSON.stringify(points) === JSON.stringify(edit.shape(index).points);
    found.set(index, { label, ...(isSame ? {} : { points: edit.clean(points) }) });
  }
  const gone = shapes.filter((shape) => !found.has(shape.index)).map((shape) => [shape.index, { dropped: true }]);
  return [...found, ...gone];
}
