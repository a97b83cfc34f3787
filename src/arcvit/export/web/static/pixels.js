// From a photo to the model's input, as the adapter says: decode, turn, resize, crop, normalise.
import {resize} from "./resize.js";

// Tags of colour are not followed, as Pillow doesn't; the turn that EXIF asks for is, where asked.
export async function decode(file, {orientation, max_pixels}) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(orientation === "upright" ? file : await unturned(file), {
      colorSpaceConversion: "none",
      premultiplyAlpha: "none",
    });
  } catch {
    throw new Error(`${file.name} can't be read: this browser doesn't know it as an image.`);
  }
  const {width, height} = bitmap;
  if (width * height > max_pixels) {
    throw new Error(`${file.name} has ${width} x ${height} pixels: more than ${max_pixels} aren't read.`);
  }
  return bitmap;
}

// Browsers turn a photo as its EXIF says, whatever they are asked: here a JPEG whose EXIF has no name.
async function unturned(file) {
  const bytes = new Uint8Array(await file.arrayBuffer());
  const isMarker = at => bytes[at] === 0xff && bytes[at + 1] !== 0xda;  // up to where pixels begin
  if (bytes[0] !== 0xff || bytes[1] !== 0xd8) return file;
  for (let at = 2; isMarker(at); at += 2 + 256 * bytes[at + 2] + bytes[at + 3]) {
    if (bytes[at + 1] === 0xe1) bytes[at + 4] = 0;
  }
  return new Blob([bytes]);
}

// (3, H, W) in a Float32Array.
export function toInput(bitmap, prep) {
  const [height, width] = resized(bitmap, prep);
  if (height * width > prep.max_pixels) {
    throw new Error(`The photo would become ${width} x ${height} pixels: more than ${prep.max_pixels} aren't read.`);
  }
  const small = resize(reader(bitmap), [bitmap.width, bitmap.height], [width, height], prep.interpolation);
  const [rows, columns] = prep.size, plane = rows * columns, input = new Float32Array(3 * plane);
  const top = cropStart(height, rows, prep.crop_start), left = cropStart(width, columns, prep.crop_start);
  for (let y = 0; y < rows; y++) {
    for (let x = 0; x < columns; x++) {
      const from = (y + top) * width + x + left;
      const inside = y + top >= 0 && y + top < height && x + left >= 0 && x + left < width;
      for (let c = 0; c < 3; c++) {
        const value = inside ? small[4 * from + c] : 0;
        input[c * plane + y * columns + x] = (value / 255 - prep.mean[c]) / prep.std[c];
      }
    }
  }
  return input;
}

// Parts of a photo as RGBA.
function reader(bitmap) {
  let paper;
  return (left, top, width, height) => {
    if (paper?.canvas.width !== width || paper.canvas.height !== height) {
      paper = new OffscreenCanvas(width, height).getContext("2d", {willReadFrequently: true});
    }
    paper.clearRect(0, 0, width, height);
    paper.drawImage(bitmap, -left, -top);
    return paper.getImageData(0, 0, width, height).data;
  };
}

// Height and width after the resize.
function resized({height, width}, {resize, size, resize_size}) {
  if (resize === "squash") return size;
  const short = Math.min(...size), box = size.map(edge => Math.floor(edge * resize_size / short));
  if (resize === "squash-crop") return box;
  if (box[0] === box[1]) {
    const long = Math.floor(box[0] * Math.max(height, width) / Math.min(height, width));
    return height <= width ? [box[0], long] : [long, box[0]];
  }
  const ratio = Math.min(height / box[0], width / box[1]);
  return [toEven(height / ratio), toEven(width / ratio)];
}

// Where a centred crop starts; negative where black is added.
function cropStart(length, crop, how) {
  if (how === "floored") return Math.floor((length - crop) / 2);
  return length >= crop ? toEven((length - crop) / 2) : -Math.floor((crop - length) / 2);
}

// Halves go to the even neighbour, as Python rounds.
const toEven = x => x % 1 === 0.5 && Math.floor(x) % 2 === 0 ? Math.floor(x) : Math.round(x);
