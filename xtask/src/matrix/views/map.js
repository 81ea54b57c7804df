// The heat map, what is above it, and the keyboard.
const byName = new Map(data.cells.map(cell => [cell.name, cell]));
const at = (line, column) => data.cells.find(cell => cell.line === line && cell.column === column);
const colourBy = document.getElementById('colour');
const filter = document.getElementById('filter');

// `wake_p99 of PipeIo` is a wake_p99.
const metricOf = name => data.metrics[name.split(' of ')[0]] || ['', '', ''];

// The first column of a line that has the metric.
function baseOf(line, name) {
  const having = data.cells.filter(cell => cell.line === line && (runOf(cell, 0) || { metrics: {} }).metrics[name] !== undefined);
  return having.length ? { column: having[0].column, value: runOf(having[0], 0).metrics[name] } : null;
}

// The change from `base` in words, and from -1 to 1 how much it is: parts of 1 and indices by points.
function against(name, value, base) {
  const [unit, better] = metricOf(name);
  if (base === null || base === undefined || value === undefined) return { unit, text: NONE, size: 0, better };
  if (unit === 'share' || unit === '') {
    return { unit, better, size: clamp((value - base) * 4), text: signed(100 * (value - base), 2) + ' points' };
  }
  if (base === 0) return { unit, better, size: value === 0 ? 0 : 1, text: value === 0 ? '0.0 %' : 'from 0' };
  return { unit, better, size: clamp(Math.log2(value / base)), text: signed(100 * (value - base) / base, 1) + ' %' };
}
const clamp = value => Math.max(-1, Math.min(1, value));
const signed = (value, places) => (value >= 0 ? '+' : '') + value.toFixed(places);

function drawMap() {
  const head = make('tr', {}, make('th', { scope: 'col' }, data.axes.join(', ')), ...data.columns.map(([kernel, scheduler]) =>
    make('th', { scope: 'col' }, kernel, scheduler ? make('span', {}, scheduler) : null)));
  const lines = data.lines.map((labels, line) => make('tr', {}, make('th', { scope: 'row' }, labels[0], ...labels.slice(1).map(label => make('span', {}, label))),
    ...data.columns.map((_, column) => {
      const cell = at(line, column);
      if (!cell) return make('td', {});
      cell.link = make('a', { class: 'cell ' + (cell.bad ? 'bad' : 'good'), href: '#' + encodeURI(cell.name), tabindex: -1 });
      return make('td', {}, cell.link);
    })));
  document.getElementById('map').replaceChildren(make('table', {}, make('thead', {}, head), make('tbody', {}, ...lines)));
  if (data.cells.length) data.cells[0].link.tabIndex = 0;
}

function paint() {
  const name = colourBy.value;
  for (const cell of data.cells) {
    const run = runOf(cell, 0);
    let text = cell.word, background = `var(--${cell.standing})`;
    if (name) {
      const value = run && run.metrics[name], base = baseOf(cell.line, name);
      const { unit, better, size, text: change } = against(name, value, base && base.value);
      const good = better === '' ? 'other' : (size < 0) === (better === 'lower') ? 'better' : 'worse';
      text = value === undefined ? NONE : base.column === cell.column ? show(value, unit) : change;
      background = `rgba(var(--${good}), ${(0.75 * Math.abs(size)).toFixed(3)})`;
    }
    cell.link.textContent = text;
    cell.link.style.background = background;
    cell.link.title = cell.name + ': ' + cell.standing;
    cell.link.setAttribute('aria-label', cell.name + ': ' + cell.standing + (name ? ', ' + text : ''));
  }
  document.getElementById('meaning').textContent = name
    ? `${name}: ${metricOf(name)[2]}. The first column of a row has the value, the others the change from it; ` +
      (metricOf(name)[1] ? `${metricOf(name)[1]} is better. Blue is better, orange worse.` : 'it says what happened, not how well.')
    : '';
}

// Every word has to be in the name or the standing.
function sift() {
  const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
  const kept = new Set();
  for (const cell of data.cells) {
    const text = (cell.name + ' ' + cell.standing + ' ' + cell.word).toLowerCase();
    const matches = words.every(word => text.includes(word));
    cell.link.classList.toggle('dim', !matches);
    if (matches) kept.add(cell.line);
  }
  document.querySelectorAll('#map tbody tr').forEach((line, i) => { line.hidden = words.length > 0 && !kept.has(i); });
}

function follow() {
  let name = location.hash.slice(1);
  try { name = decodeURIComponent(name); } catch (_) { /* as it is */ }
  data.cells.forEach(cell => cell.link.classList.remove('open'));
  const cell = byName.get(name);
  if (cell) {
    cell.link.classList.add('open');
    showCell(cell);
  } else if (name) showMissing(name);
  else closePanel();
}

const STEPS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
function move(event) {
  const step = STEPS[event.key];
  const from = data.cells.find(cell => cell.link === document.activeElement);
  if (!step || !from) return;
  event.preventDefault();
  // Over gaps and hidden lines.
  for (let [line, column] = [from.line + step[0], from.column + step[1]];
    line >= 0 && line < data.lines.length && column >= 0 && column < data.columns.length;
    line += step[0], column += step[1]) {
    const to = at(line, column);
    if (to && to.link.offsetParent) {
      from.link.tabIndex = -1;
      to.link.tabIndex = 0;
      to.link.focus();
      return;
    }
  }
}

function escape(event) {
  if (event.key !== 'Escape' || panel.hidden) return;
  const open = data.cells.find(cell => cell.link.classList.contains('open'));
  closePanel();
  if (open) open.link.focus();
}

document.querySelector('h1').textContent = data.name;
document.getElementById('counts').textContent = data.counts;
const measured = new Set(data.cells.flatMap(cell => Object.keys((runOf(cell, 0) || { metrics: {} }).metrics)));
colourBy.append(...[...measured].filter(name => !name.includes(' of ')).map(name => make('option', { value: name }, 'by ' + name)));
colourBy.addEventListener('change', paint);
filter.addEventListener('input', sift);
document.getElementById('map').addEventListener('keydown', move);
document.addEventListener('keydown', escape);
window.addEventListener('hashchange', follow);
window.addEventListener('resize', () => { if (redraw) redraw(); });
drawMap();
paint();
follow();
root.dataset.readyMs = performance.now().toFixed(0);
