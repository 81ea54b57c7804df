// Elements, values with units, and the distribution functions.
const root = document.documentElement;
window.addEventListener('error', event => { root.dataset.error = (root.dataset.error || '') + event.message + '; '; });
const SVG = 'http://www.w3.org/2000/svg';

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (value !== null && value !== undefined && value !== false) element.setAttribute(name, value);
  }
  element.append(...children.filter(child => child !== null && child !== undefined));
  return element;
}
const make = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
const draw = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

const NONE = '\u2013';
function digits(value) {
  const size = Math.abs(value);
  return value.toFixed(size >= 100 ? 0 : size >= 10 ? 1 : 2);
}
function showNs(ns) {
  for (const [scale, unit] of [[1e9, 's'], [1e6, 'ms'], [1e3, 'us']]) {
    if (ns >= scale) return digits(ns / scale) + ' ' + unit;
  }
  return ns.toFixed(0) + ' ns';
}
function show(value, unit) {
  if (value === null || value === undefined) return NONE;
  if (unit === 'ns') return showNs(value);
  if (unit === 'share') return (100 * value).toFixed(1) + ' %';
  const text = Number.isInteger(value) ? String(value) : unit === '/s' ? digits(value) : value.toFixed(4);
  return unit ? text + (unit === '/s' ? '' : ' ') + unit : text;
}

// As the axis has it: the part of the samples, or how many nines it has.
const SCALES = {
  'all samples': { of: part => part, top: 1, ticks: [0, 0.25, 0.5, 0.75, 1] },
  'tail': { of: part => Math.min(5, -Math.log10(Math.max(1 - part, 1e-9))), top: 5, ticks: [0, 0.9, 0.99, 0.999, 0.9999] },
};
const DASHES = ['', '7 3', '2 3'];
const colour = at => 'var(--s' + at % 8 + ')';
const dash = at => DASHES[Math.floor(at / 8) % DASHES.length];

// `series`: { latency, at, own }, where `at` chooses the colour.
function plotCdf(series, scaleName, width) {
  const scale = SCALES[scaleName], height = 250, left = 52, right = 14, top = 8, bottom = 40;
  const times = series.flatMap(one => one.latency.at).map(ns => Math.max(ns, 1));
  let low = Math.min(...times), high = Math.max(...times);
  if (low === high) { low /= 2; high *= 2; }
  const span = Math.log(high / low);
  const x = ns => left + (width - left - right) * Math.log(Math.max(ns, 1) / low) / span;
  const y = part => height - bottom - (height - top - bottom) * scale.of(part) / scale.top;
  const svg = draw('svg', { class: 'plot', viewBox: `0 0 ${width} ${height}`, role: 'img', 'aria-label': 'part of the samples that took at most a time' });
  for (const part of scale.ticks) {
    svg.append(draw('line', { class: 'grid', x1: left, x2: width - right, y1: y(part), y2: y(part) }),
      draw('text', { x: left - 6, y: y(part) + 4, 'text-anchor': 'end' }, String(part)));
  }
  timeTicks(low, high, (width - left - right) / (span / Math.LN10)).forEach(([ns, label]) => {
    svg.append(draw('line', { class: label ? 'grid' : 'grid minor', x1: x(ns), x2: x(ns), y1: top, y2: height - bottom }));
    if (label) svg.append(draw('text', { x: x(ns), y: height - bottom + 15, 'text-anchor': 'middle' }, label));
  });
  svg.append(draw('rect', { class: 'frame', x: left, y: top, width: width - left - right, height: height - top - bottom }),
    draw('text', { x: (left + width - right) / 2, y: height - 6, 'text-anchor': 'middle' }, 'latency, log scale'),
    draw('text', { x: -(height - bottom + top) / 2, y: 11, transform: 'rotate(-90)', 'text-anchor': 'middle' }, 'part of the samples'));
  // The one that was opened is drawn last, above the others.
  for (const one of [...series].sort((a, b) => a.own - b.own)) {
    const { at, below, count } = one.latency;
    const points = at.map((ns, i) => x(ns).toFixed(1) + ' ' + y(below[i] / count).toFixed(1));
    const path = 'M' + x(at[0]).toFixed(1) + ' ' + y(0).toFixed(1) + 'L' + points.join('L');
    svg.append(draw('path', { class: 'cdf ' + (one.own ? 'own' : 'other'), d: path, style: 'stroke:' + colour(one.at), 'stroke-dasharray': dash(one.at) || null }));
  }
  return svg;
}

// Decades are labelled, 2 and 5 between them too where a decade is wide enough.
function timeTicks(low, high, decade) {
  const ticks = [];
  for (let ten = 10 ** Math.floor(Math.log10(low)); ten <= high; ten *= 10) {
    for (const times of [1, 2, 3, 4, 5, 6, 7, 8, 9]) {
      const ns = ten * times;
      if (ns < low || ns > high) continue;
      const labelled = times === 1 ? decade > 42 : (times === 2 || times === 5) && decade > 190;
      if (labelled || decade > 60 || times === 1) ticks.push([ns, labelled ? tick(ns) : '']);
    }
  }
  return ticks;
}
function tick(ns) {
  for (const [scale, unit] of [[1e9, 's'], [1e6, 'ms'], [1e3, 'us']]) {
    if (ns >= scale * 0.999) return Math.round(ns / scale) + ' ' + unit;
  }
  return Math.round(ns) + ' ns';
}
