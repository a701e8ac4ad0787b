"use strict";
// A small network in the reader's browser. The image is read, shrunk and answered here; nothing on this page sends
// anything anywhere. The arithmetic is TensorFlow.js with its processor backend, the rest stands below.
window.medtkPage = (function () {
  const model = window.medtkModel;
  const LARGEST = 40e6; // pixels of an image; a larger one could use up a phone's memory

  // --- the weights -------------------------------------------------------------------------------------------------
  const bytes = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const floats = (text) => new Float32Array(bytes(text).buffer);

  // A weight is stored as a whole number of 8 bits; times the scale of its output channel it is a number again.
  function kernel(layer) {
    const scale = floats(layer.scale);
    const whole = new Int8Array(bytes(layer.weights).buffer);
    return Float32Array.from(whole, (q, i) => Math.fround(q * scale[i % scale.length]));
  }

  const weights = [];
  function prepare() {
    tf.setBackend("cpu");
    for (const layer of model.layers) {
      const has = layer.weights !== undefined;
      weights.push(has ? { kernel: tf.tensor(kernel(layer), layer.shape), bias: tf.tensor1d(floats(layer.bias)) } : {});
    }
  }

  // --- from a picture to what the network sees: medtk.edge.bundle.prepared, line by line ------------------------------
  // A triangle filter with half-pixel centres, wider where it shrinks, so that fine texture does not alias.
  function filter(from, to) {
    const scale = from / to;
    const support = Math.max(scale, 1);
    return Array.from({ length: to }, (_, row) => {
      const centre = (row + 0.5) * scale - 0.5;
      const first = Math.max(0, Math.ceil(centre - support));
      const last = Math.min(from - 1, Math.floor(centre + support));
      const taps = [];
      for (let i = first; i <= last; i++) taps.push(Math.max(0, 1 - Math.abs(i - centre) / support));
      const sum = taps.reduce((a, b) => a + b, 0);
      return { first, taps: taps.map((tap) => tap / sum) };
    });
  }

  function preprocess(rgba, width, height) {
    const size = model.size;
    const grey = new Float32Array(width * height);
    for (let i = 0; i < grey.length; i++) {
      const [red, green, blue] = [rgba[4 * i], rgba[4 * i + 1], rgba[4 * i + 2]];
      grey[i] = (red * 19595 + green * 38470 + blue * 7471 + 32768) >> 16; // whole grey values, as Pillow's
    }
    const narrow = new Float32Array(height * size);
    filter(width, size).forEach(({ first, taps }, x) => {
      for (let y = 0; y < height; y++) {
        narrow[y * size + x] = taps.reduce((sum, tap, i) => sum + tap * grey[y * width + first + i], 0);
      }
    });
    const small = new Float32Array(size * size);
    filter(height, size).forEach(({ first, taps }, y) => {
      for (let x = 0; x < size; x++) {
        small[y * size + x] = taps.reduce((sum, tap, i) => sum + tap * narrow[(first + i) * size + x], 0) / 255;
      }
    });
    return small;
  }

  // --- the network -----------------------------------------------------------------------------------------------------
  function scores(images) {
    let x = images;
    model.layers.forEach((layer, number) => {
      const { kernel, bias } = weights[number];
      if (layer.kind === "conv") x = tf.add(tf.conv2d(x, kernel, layer.stride, layer.padding), bias);
      if (layer.kind === "dense") x = tf.add(tf.matMul(x, kernel), bias);
      if (layer.kind === "pool") x = tf.maxPool(x, layer.size, layer.stride, layer.padding);
      if (layer.kind === "mean") x = tf.mean(x, [1, 2]);
      if (layer.relu) x = tf.relu(x);
    });
    return x; // the last layer, softmax, is taken where probabilities are wanted
  }

  const tensor = (pixels) => tf.tensor4d(pixels, [1, model.size, model.size, 1]);

  function predict(pixels) {
    return tf.tidy(() => Array.from(tf.softmax(scores(tensor(pixels))).dataSync()));
  }

  // How much the lead of a class over the others would change with each pixel: the size of the gradient.
  function saliency(pixels, which) {
    return tf.tidy(() => {
      const sign = model.classes.map((_, i) => (i === which ? 1 : -1 / (model.classes.length - 1)));
      const lead = (images) => tf.sum(tf.mul(scores(images), tf.tensor2d([sign])));
      return Array.from(tf.abs(tf.grad(lead)(tensor(pixels))).dataSync());
    });
  }

  // --- the page --------------------------------------------------------------------------------------------------------
  const part = (name) => document.getElementById("try-" + name);

  function say(words, wrong) {
    part("message").textContent = words;
    part("message").classList.toggle("try-wrong", Boolean(wrong));
  }

  function paint(pixels, heat) {
    const canvas = part("picture");
    canvas.width = canvas.height = model.size;
    const picture = new ImageData(model.size, model.size);
    const most = heat ? Math.max(...heat) || 1 : 1;
    pixels.forEach((value, i) => {
      const grey = 255 * Math.min(1, Math.max(0, value));
      const share = heat ? Math.sqrt(heat[i] / most) * 0.8 : 0; // the root, so that weak places show as well
      const orange = [213, 94, 0];
      for (let c = 0; c < 3; c++) picture.data[4 * i + c] = (1 - share) * grey + share * orange[c];
      picture.data[4 * i + 3] = 255;
    });
    canvas.getContext("2d").putImageData(picture, 0, 0);
  }

  let shown = null; // pixels and probabilities on view

  function show(pixels, name, expected) {
    const started = performance.now();
    const probabilities = predict(pixels);
    const seconds = (performance.now() - started) / 1000;
    const best = probabilities.indexOf(Math.max(...probabilities));
    shown = { pixels, probabilities, best };
    model.classes.forEach((label, i) => {
      part("bar-" + i).value = probabilities[i];
      part("share-" + i).textContent = (100 * probabilities[i]).toFixed(1) + " %";
    });
    part("result").hidden = false;
    look();
    let words = `${name}: the network answers ${model.classes[best]}, ${(100 * probabilities[best]).toFixed(1)} %, `;
    words += `after ${seconds.toFixed(2)} seconds on this machine.`;
    if (expected) {
      const gap = Math.max(...expected.map((value, i) => Math.abs(value - probabilities[i])));
      words += ` Python gave the same to ${gap < 1e-7 ? "0.0000001" : gap.toPrecision(1)}.`;
    }
    say(words + " Not for clinical use.");
  }

  function look() {
    if (!shown) return;
    const heat = part("saliency").checked ? saliency(shown.pixels, shown.best) : null;
    paint(shown.pixels, heat);
    const what = heat ? ", with the pixels marked on which the answer depends most" : "";
    part("picture").setAttribute("aria-label", `What the network sees: ${model.size} by ${model.size} grey pixels${what}`);
  }

  // An image of the browser, as pixels. It is drawn on black, which is what a transparent place becomes.
  function pixelsOf(image, width, height) {
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [width, height];
    const pen = canvas.getContext("2d", { willReadFrequently: true });
    pen.fillRect(0, 0, width, height);
    pen.drawImage(image, 0, 0, width, height);
    return preprocess(pen.getImageData(0, 0, width, height).data, width, height);
  }

  // Through an <img>, which every browser has, and which gives nothing for a file that is no image.
  function open(address, name, expected) {
    return new Promise((done) => {
      const image = new Image();
      image.onload = () => {
        const [width, height] = [image.naturalWidth, image.naturalHeight];
        if (!width || !height) say(`${name} has no size in pixels, so it cannot be shrunk. Give a PNG or JPEG.`, true);
        else if (width * height > LARGEST) say(`${name} has ${width} by ${height} pixels, too many for this page.`, true);
        else show(pixelsOf(image, width, height), name, expected);
        done();
      };
      image.onerror = () => {
        const words = "is not an image that this browser can read. Give a PNG, JPEG, WebP or GIF; a DICOM file has to";
        say(`${name} ${words} be turned into one of these first.`, true);
        done();
      };
      image.src = address;
    });
  }

  async function openFile(file) {
    if (!file) return;
    const address = URL.createObjectURL(file);
    await open(address, file.name);
    URL.revokeObjectURL(address);
  }

  function build() {
    model.classes.forEach((label, i) => {
      const row = document.createElement("p");
      row.className = "try-row";
      row.innerHTML = `<label for="try-bar-${i}"></label><meter id="try-bar-${i}" min="0" max="1"></meter><output id="try-share-${i}"></output>`;
      row.firstChild.textContent = label;
      part("bars").append(row);
    });
    model.examples.forEach((example, i) => {
      const button = document.createElement("button");
      button.type = "button";
      const picture = document.createElement("img");
      picture.src = "data:image/png;base64," + example.png;
      picture.alt = `drawn by a program: ${example.name}`;
      picture.width = picture.height = 72;
      button.append(picture, `example ${i + 1}`);
      button.addEventListener("click", () => open(picture.src, `Example ${i + 1}`, example.probabilities));
      part("examples").append(button);
    });
    part("file").addEventListener("change", (event) => openFile(event.target.files[0]));
    part("saliency").addEventListener("change", look);
    const zone = part("zone");
    for (const kind of ["dragover", "dragleave", "drop"]) {
      zone.addEventListener(kind, (event) => {
        event.preventDefault();
        zone.classList.toggle("try-over", kind === "dragover");
        if (kind === "drop") openFile(event.dataTransfer.files[0]);
      });
    }
    say("Choose an example or a picture of your own. Nothing leaves this page.");
  }

  if (window.tf && model) {
    prepare();
    build();
  } else {
    say("A part of this page is missing: tf.min.js or model.js. Build the book again.", true);
  }
  return { preprocess, predict, saliency };
})();
