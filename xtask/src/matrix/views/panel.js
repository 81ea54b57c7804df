// What opens when a cell is chosen.
const data = JSON.parse(document.getElementById('data').textContent);
const panel = document.querySelector('aside');
let redraw = null;

const titleOf = column => data.columns[column].filter(Boolean).join('/');
// A run that equals an earlier one has only a folder of its own.
const runOf = (cell, at) => {
  const run = cell.runs[at];
  return run && run.same !== undefined ? { ...cell.runs[run.same], folder: run.folder } : run;
};

function showCell(cell, at = 0) {
  const run = runOf(cell, at);
  panel.hidden = false;
  document.body.classList.add('beside');
  redraw = null;
  panel.replaceChildren(...[
    make('header', {}, make('h2', { tabindex: -1 }, cell.name), make('button', { onclick: closePanel }, 'close')),
    make('p', {}, make('span', { class: 'standing', style: `background:var(--${cell.standing})` }, cell.standing)),
    cell.reason && make('p', { class: 'reason' }, cell.reason),
    run ? runChoice(cell, at) : make('p', { class: 'soft' }, 'It has no run.'),
    ...(run ? [facts(run), checks(run), ...latencies(cell, run), cpus(run), workers(run), metrics(cell, run)] : []),
  ].filter(Boolean));
  if (redraw) redraw();
  panel.scrollTop = 0;
}

function showMissing(name) {
  panel.hidden = false;
  document.body.classList.add('beside');
  panel.replaceChildren(make('header', {}, make('p', {}, 'no cell is called ' + name), make('button', { onclick: closePanel }, 'close')));
}

function closePanel() {
  if (location.hash) location.hash = '';
  panel.hidden = true;
  redraw = null;
  document.body.classList.remove('beside');
}

function runChoice(cell, at) {
  if (cell.runs.length < 2) return null;
  const options = cell.runs.map((run, i) => make('option', { value: i, selected: i === at && 'selected' },
    `${i + 1} of ${cell.runs.length}` + (run.same === undefined ? '' : `, the same as ${run.same + 1}`)));
  return make('label', {}, 'run ', make('select', { onchange: event => showCell(cell, Number(event.target.value)) }, ...options));
}

function facts(run) {
  const href = run.folder.split('/').map(encodeURIComponent).join('/') + '/';
  const lines = [['run folder', make('a', { href }, run.folder)], ['verdict', run.verdict], ['kernel', 'Linux ' + run.kernel], ['machine', run.machine]];
  if (run.advice) lines.push(['advice', run.advice]);
  return make('dl', { class: 'facts' }, ...lines.flatMap(([name, value]) => [make('dt', {}, name), make('dd', {}, value)]));
}

// `heads`: a title and whether numbers are below it.
function list(heads, rows) {
  const head = make('tr', {}, ...heads.map(([title, number]) => make('th', { scope: 'col', class: number && 'number' }, title)));
  return make('div', { class: 'scroll' }, make('table', { class: 'data' }, make('thead', {}, head), make('tbody', {}, ...rows)));
}
const section = (title, ...content) => make('section', {}, make('h3', {}, title), ...content);

function checks(run) {
  if (!run.checks.length) return null;
  const rows = run.checks.map(([name, outcome, measured, bound, unit, workers, detail]) => make('tr', { class: 'check ' + outcome },
    make('td', {}, name), make('td', {}, outcome === 'fail' ? 'FAIL' : outcome),
    make('td', { class: 'number' }, show(measured, unit)), make('td', { class: 'number' }, show(bound, unit)),
    make('td', {}, detail + (workers.length ? ` (workers ${some(workers)})` : ''))));
  return section('Checks', list([['check'], ['outcome'], ['measured', true], ['bound', true], ['what']], rows));
}
const some = indices => indices.slice(0, 6).join(' ') + (indices.length > 6 ? ` and ${indices.length - 6} more` : '');

function latencies(cell, run) {
  const kinds = Object.keys(run.latencies);
  if (!kinds.length) return [];
  const scale = make('select', {}, ...Object.keys(SCALES).map(name => make('option', {}, name)));
  const plots = kinds.map(kind => latency(cell, run, kind, scale));
  redraw = () => plots.forEach(plot => plot.redraw());
  scale.addEventListener('change', redraw);
  return [section('Latency', make('p', { class: 'soft' }, 'Distribution functions of all workers\u2019 samples, beside those of the other columns of this row. '),
    make('label', {}, 'vertical axis ', scale)), ...plots.map(plot => plot.element)];
}

function latency(cell, run, kind, scale) {
  const beside = data.cells.filter(other => other.line === cell.line).map(other => ({
    at: other.column, own: other === cell, latency: ((other === cell ? run : runOf(other, 0)) || { latencies: {} }).latencies[kind],
  })).filter(one => one.latency);
  // More than eight lines are soup: the rest waits for its box to be ticked.
  const others = beside.filter(one => !one.own).slice(0, 7);
  beside.forEach(one => { one.shown = one.own || others.includes(one); });
  const holder = make('div', {});
  const again = () => holder.replaceChildren(plotCdf(beside.filter(one => one.shown || one.own), scale.value, Math.max(panel.clientWidth - 40, 280)));
  const rows = beside.map(one => {
    const box = make('input', { type: 'checkbox', 'aria-label': 'show ' + titleOf(one.at), onchange: event => { one.shown = event.target.checked; again(); } });
    box.checked = one.shown;
    box.disabled = one.own;
    const swatch = draw('svg', { class: 'swatch', viewBox: '0 0 26 10' }, draw('line', { x1: 0, x2: 26, y1: 5, y2: 5, 'stroke-width': one.own ? 3 : 2, 'stroke-dasharray': dash(one.at) || null, style: 'stroke:' + colour(one.at) }));
    const { count, p50, p99, max } = one.latency;
    return make('tr', { class: one.own && 'own' }, make('td', {}, box), make('td', {}, swatch, ' ' + titleOf(one.at)), make('td', { class: 'number' }, String(count)),
      ...[p50, p99, max].map(ns => make('td', { class: 'number' }, showNs(ns))));
  });
  const legend = list([[''], ['kernel and scheduler'], ['samples', true], ['p50', true], ['p99', true], ['max', true]], rows);
  return { element: section(kind, holder, legend), redraw: again };
}

// A value with a bar as long as its part of `most`.
function bar(value, most, text) {
  const part = make('i', {});
  part.style.width = (value && most ? 100 * value / most : 0) + '%';
  return make('td', { class: 'number bar' }, part, make('b', {}, text));
}
const most = values => Math.max(0, ...values.map(value => value || 0));

function cpus(run) {
  if (!run.cpus.length) return null;
  const [delay, slices] = [2, 3].map(at => most(run.cpus.map(cpu => cpu[at])));
  const rows = run.cpus.map(([cpu, busy, waiting, timeslices]) => make('tr', { class: 'cpu' }, make('td', {}, String(cpu)),
    bar(busy, 1, show(busy, 'share')), bar(waiting, Math.max(delay, 1), waiting === null ? NONE : waiting.toFixed(2)), bar(timeslices, slices, show(timeslices, ''))));
  return section('CPUs', list([['CPU'], ['busy, of wall time', true], ['tasks waiting, mean', true], ['time slices', true]], rows));
}

function workers(run) {
  if (!run.workers.length) return null;
  const [iterations, delay, migrations, gap] = [2, 4, 5, 6].map(at => most(run.workers.map(worker => worker[at])));
  const rows = run.workers.map(worker => make('tr', { class: 'worker' }, make('td', {}, String(worker[0])), make('td', {}, worker[1]),
    bar(worker[2], iterations, show(worker[2], '')), bar(worker[3], 1, show(worker[3], 'share')), bar(worker[4], 1, show(worker[4], 'share')),
    bar(worker[5], migrations, show(worker[5], '')), bar(worker[6], gap, show(worker[6], 'ns'))));
  return section('Workers', make('p', { class: 'soft' }, 'CPU and delay (runnable but waiting for a CPU) are parts of wall time; gap is the longest time between two checkpoints.'),
    list([['#'], ['what'], ['iterations', true], ['CPU', true], ['delay', true], ['migrations', true], ['gap', true]], rows));
}

// Each metric beside the first column of the row that has it.
function metrics(cell, run) {
  const names = Object.keys(run.metrics);
  if (!names.length) return null;
  const rows = names.map(name => {
    const base = baseOf(cell.line, name);
    const { unit, text } = against(name, run.metrics[name], base && base.value);
    return make('tr', {}, make('td', {}, name), make('td', { class: 'number' }, show(run.metrics[name], unit)),
      make('td', { class: 'number' }, base ? show(base.value, unit) : NONE), make('td', { class: 'number' }, text));
  });
  return section('Metrics', list([['metric'], ['value', true], ['first column', true], ['change', true]], rows));
}
