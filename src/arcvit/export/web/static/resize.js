// Pillow's resize, to the bit (its libImaging/Resample.c, and Geometry.c for nearest): a canvas of
// the browser averages in a way of its own, and another picture gets other probabilities.
const BITS = 22, HALF = 1 << (BITS - 1);  // weights are integers; each pass rounds to 8 bits
const PART = 2 ** 22;  // pixels: phones refuse a canvas for all of a large photo

const sinc = x => x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x);
const FILTERS = {
  bilinear: [1, x => Math.max(0, 1 - Math.abs(x))],
  bicubic: [2, x => {
    const d = Math.abs(x);
    if (d < 1) return (1.5 * d - 2.5) * d * d + 1;
    return d < 2 ? (((d - 5) * d + 8) * d - 4) * -0.5 : 0;
  }],
  lanczos: [3, x => -3 <= x && x < 3 ? sinc(x) * sinc(x / 3) : 0],
};

// What each of `to` pixels is made of: weights of the pixels from `first` on, of `from` in a row.
function taps(from, to, interpolation) {
  const scale = from / to, all = [];
  if (interpolation === "nearest") {
    for (let i = 0, x = scale / 2; i < to; i++, x += scale) {
      all.push({first: Math.floor(x), weights: Int32Array.of(1 << BITS)});
    }
    return all;
  }
  const [reach, filter] = FILTERS[interpolation];
  const stretch = Math.max(scale, 1), support = reach * stretch;
  for (let i = 0; i < to; i++) {
    const centre = (i + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - support + 0.5));
    const last = Math.min(from, Math.trunc(centre + support + 0.5));
    const shares = new Float64Array(last - first);
    let sum = 0;
    for (let k = 0; k < shares.length; k++) {
      sum += shares[k] = filter((k + first - centre + 0.5) * (1 / stretch));
    }
    const weights = Int32Array.from(shares, share => {
      const weight = (sum === 0 ? share : share / sum) * (1 << BITS);
      return Math.trunc(weight < 0 ? weight - 0.5 : weight + 0.5);
    });
    all.push({first, weights});
  }
  return all;
}

const clip = sum => Math.max(0, Math.min(255, sum >> BITS));

// A picture of [width, height] in another size, RGBA whose A counts for nothing. Large ones are read
// in parts: read(left, top, width, height) gives RGBA.
export function resize(read, [width, height], [toWidth, toHeight], interpolation) {
  const columns = taps(width, toWidth, interpolation), rows = taps(height, toHeight, interpolation);
  // The order matters, as each pass rounds: this is that of Pillow 13.
  if (height > toHeight && height - toHeight > 2 * (width - toWidth)) {
    const low = new Uint8Array(4 * width * toHeight), part = share(PART / height, width);
    for (let left = 0; left < width; left += part) {
      const count = Math.min(part, width - left);
      const strip = vertically(read(left, 0, count, height), 4 * count, rows);
      for (let y = 0; y < toHeight; y++) {
        low.set(strip.subarray(4 * count * y, 4 * count * (y + 1)), 4 * (width * y + left));
      }
    }
    return horizontally(low, width, columns);
  }
  const narrow = new Uint8Array(4 * toWidth * height), part = share(PART / width, height);
  for (let top = 0; top < height; top += part) {
    const strip = read(0, top, width, Math.min(part, height - top));
    narrow.set(horizontally(strip, width, columns), 4 * toWidth * top);
  }
  return vertically(narrow, 4 * toWidth, rows);
}

const share = (part, whole) => Math.max(1, Math.min(whole, Math.floor(part)));

// Rows of so many pixels to narrower or wider ones.
function horizontally(rgba, width, columns) {
  const rows = rgba.length / (4 * width), out = new Uint8Array(4 * rows * columns.length);
  for (let y = 0, to = 0; y < rows; y++) {
    for (const {first, weights} of columns) {
      let red = HALF, green = HALF, blue = HALF;
      for (let k = 0, at = 4 * (y * width + first); k < weights.length; k++, at += 4) {
        const weight = weights[k];
        red += rgba[at] * weight;
        green += rgba[at + 1] * weight;
        blue += rgba[at + 2] * weight;
      }
      out[to] = clip(red);
      out[to + 1] = clip(green);
      out[to + 2] = clip(blue);
      to += 4;
    }
  }
  return out;
}

// Rows of so many values to other rows, lower or higher.
function vertically(values, length, rows) {
  const out = new Uint8Array(rows.length * length), sums = new Int32Array(length);
  rows.forEach(({first, weights}, y) => {
    sums.fill(HALF);
    weights.forEach((weight, k) => {
      for (let x = 0, at = (first + k) * length; x < length; x++, at++) sums[x] += values[at] * weight;
    });
    for (let x = 0, at = y * length; x < length; x++, at++) out[at] = clip(sums[x]);
  });
  return out;
}
