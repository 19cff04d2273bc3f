/* The page of landed intervals: by itself, and as a React app of Airflow's UI. No framework, no build step. */

const STATIC = new URL(".", import.meta.url);
const SERVER = new URL("..", STATIC);
const AIRFLOW = new URL("..", SERVER);

/* By the letters that the server sends: a sign that stands for each, a word, and what it means. */
const STATES = {
  l: ["", "landed", "The report is there."],
  e: ["0", "empty", "The report is there, and has no rows."],
  c: ["≠", "changed", "The report is there, and Stripe has made it again since, with a file of another size."],
  i: ["…", "landing", "The report is being landed, or was when that was interrupted."],
  p: ["…", "pending", "Its task is under way, or waits to be."],
  f: ["×", "failed", "Its task has failed, and nothing is landed."],
  t: ["~", "late", "Stripe does not have the data yet, though it should: a UTC day is complete by noon of the next."],
  m: ["!", "missing", "Stripe has the data, and nothing is landed."],
  n: ["·", "not yet", "Stripe does not have the data yet."],
};
const ORDER = "fmticpeln";
const DAY = 86400;
const OPENED = 1; // series that are open at first
const LONGEST = 24; // pages beyond which they are a list to choose from
const WEEKDAYS = ["Mo", "Tu", "We", "Th", "Fr", "Sa", "Su"];

function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== null && value !== false) element.setAttribute(name, value);
  }
  element.append(...children.filter((it) => it !== null && it !== undefined));
  return element;
}

async function ask(path, query = {}) {
  const url = new URL(path, SERVER);
  for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
  const answer = await fetch(url, { credentials: "same-origin", headers: { Accept: "application/json" } });
  if (answer.ok) return answer.json();
  if (answer.status === 401) throw new Error("You are not logged in to Airflow any more: log in, and come back.");
  const said = await answer.json().catch(() => ({}));
  throw new Error(typeof said.detail === "string" ? said.detail : `Airflow's API server answered ${answer.status}.`);
}

/* --- Time, by the clocks of a zone --- */

const clocks = new Map();

function wall(seconds, zone) {
  if (!clocks.has(zone)) {
    const fields = { year: "numeric", month: "numeric", day: "numeric", hour: "numeric", minute: "numeric" };
    clocks.set(zone, new Intl.DateTimeFormat("en-GB", { ...fields, timeZone: zone, hourCycle: "h23" }));
  }
  const found = {};
  for (const { type, value } of clocks.get(zone).formatToParts(seconds * 1000)) found[type] = Number(value);
  return found;
}

const two = (number) => String(number).padStart(2, "0");
const dateOf = (it) => `${it.year}-${two(it.month)}-${two(it.day)}`;
const momentOf = (it) => `${dateOf(it)} ${two(it.hour)}:${two(it.minute)}`;
const monthName = (month, style) => new Date(Date.UTC(2000, month - 1)).toLocaleString("en", { month: style, timeZone: "UTC" });
const weekdayOf = (it) => (new Date(Date.UTC(it.year, it.month - 1, it.day)).getUTCDay() + 6) % 7;

/* --- Series --- */

function intervalsOf(series) {
  const found = [];
  let start = series.start;
  for (const [length, count] of series.lengths) {
    for (let left = count; left > 0; left -= 1) {
      const end = start + length;
      found.push({ start, end, state: series.states[found.length] });
      start = end;
    }
  }
  return found;
}

function countsOf(states) {
  const counts = new Map();
  for (const state of states) counts.set(state, (counts.get(state) ?? 0) + 1);
  return [...ORDER].filter((state) => counts.has(state)).map((state) => [state, counts.get(state)]);
}

function kindOf(series) {
  if (series.unit) return series.unit;
  const [length] = series.lengths.reduce((most, it) => (it[1] > most[1] ? it : most), [DAY, 0]);
  return length < DAY - 3600 ? "hour" : length <= DAY + 3600 ? "day" : "other";
}

/* What an interval is placed by: where it begins, or the instant that the report is of. */
function placeOf(series, it) {
  return wall(series.has_starts ? it.start : it.end - 1, series.timezone);
}

function nameOf(series, it) {
  const from = wall(it.start, series.timezone);
  const to = wall(it.end, series.timezone);
  if (!series.has_starts) return momentOf(to);
  const midnight = from.hour + from.minute + to.hour + to.minute === 0;
  if (midnight && kindOf(series) === "day") return `${weekdayName(from)} ${dateOf(from)}`;
  return midnight ? `${dateOf(from)} to before ${dateOf(to)}` : `${momentOf(from)} to ${momentOf(to)}`;
}

const weekdayName = (it) => WEEKDAYS[weekdayOf(it)];

function pagesOf(series) {
  const kind = kindOf(series);
  const pages = new Map();
  for (const it of intervalsOf(series)) {
    const at = placeOf(series, it);
    const name = kind === "day" ? `${at.year}` : kind === "hour" ? `${at.year}-${two(at.month)}` : "all";
    if (!pages.has(name)) pages.set(name, []);
    pages.get(name).push({ ...it, at });
  }
  return pages;
}

/* Tables of a page: caption, heads of columns, rows of [head, cells], and the text of a cell. */
function tablesOf(series, intervals) {
  const kind = kindOf(series);
  if (kind === "day") {
    const months = new Map();
    for (const it of intervals) {
      const { year, month, day } = it.at;
      const rows = months.get(month) ?? [];
      months.set(month, rows);
      const before = weekdayOf({ year, month, day: 1 });
      const row = Math.floor((before + day - 1) / 7);
      rows[row] ??= ["", []];
      const column = (before + day - 1) % 7;
      if (rows[row][1][column]) return listOf(series, intervals); // two in one day
      rows[row][1][column] = { ...it, text: `${day}` };
    }
    return [...months].map(([month, rows]) => ({
      caption: `${monthName(month, "long")} ${intervals[0].at.year}`, heads: WEEKDAYS, rows: rows.filter(Boolean),
    }));
  }
  return listOf(series, intervals);
}

function listOf(series, intervals) {
  const kind = kindOf(series);
  const rows = new Map();
  for (const it of intervals) {
    const short = kind === "hour" || kind === "day";
    const head = short ? dateOf(it.at) : `${it.at.year}`;
    if (!rows.has(head)) rows.set(head, []);
    const text = short ? `${two(it.at.hour)}:${two(it.at.minute)}`
      : kind === "month" ? monthName(it.at.month, "short")
      : kind === "quarter" ? `Q${Math.ceil(it.at.month / 3)}`
      : kind === "year" ? `${it.at.year}` : `${two(it.at.month)}-${two(it.at.day)}`;
    rows.get(head).push({ ...it, text });
  }
  return [{ caption: "", heads: [], rows: [...rows], wide: true }];
}

/* --- The page --- */

export class Coverage {
  constructor(host) {
    this.host = host;
    this.root = host.shadowRoot ?? host.attachShadow({ mode: "open" });
    this.views = new Map(); // by the series' id: whether it is open, its page, the interval with the focus
    this.shown = "";
    this.status = make("p", { role: "status", class: "dim" }, "Reading …");
    this.content = make("div");
    this.dialog = make("dialog", { "aria-labelledby": "of" });
    this.again = make("button", { type: "button", onclick: () => this.load(true) }, "Read again");
    const style = make("link", { rel: "stylesheet", href: new URL("coverage.css", STATIC) });
    const head = make("div", { class: "head" }, make("h1", {}, "Stripe reports"), this.status, this.again);
    this.all = make("div", { class: "all", hidden: "" }, head, this.legend(), this.content, this.dialog);
    style.addEventListener("load", () => this.all.removeAttribute("hidden"));
    this.root.replaceChildren(style, this.all);
    this.watchTheme();
    this.load();
  }

  close() {
    this.closed = true;
    clearTimeout(this.timer);
    this.observer.disconnect();
    this.scheme.removeEventListener("change", this.setTheme);
  }

  watchTheme() {
    this.scheme = matchMedia("(prefers-color-scheme: dark)");
    this.setTheme = () => {
      const airflow = document.documentElement.classList;
      let chosen = airflow.contains("dark") ? "dark" : airflow.contains("light") ? "light" : null;
      if (!chosen) {
        try { chosen = localStorage.getItem("theme"); } catch { chosen = null; }
      }
      if (chosen !== "dark" && chosen !== "light") chosen = this.scheme.matches ? "dark" : "light";
      this.host.dataset.theme = chosen;
    };
    this.observer = new MutationObserver(this.setTheme);
    this.observer.observe(document.documentElement, { attributes: true, attributeFilter: ["class"] });
    this.scheme.addEventListener("change", this.setTheme);
    this.setTheme();
  }

  async load(anew = false) {
    clearTimeout(this.timer);
    let next = null;
    try {
      const told = await ask("coverage", anew ? { anew: "true" } : {});
      if (this.closed) return;
      const { now, read_at: readAt, ...shown } = told;
      const at = readAt ? `As of ${new Date(readAt).toLocaleTimeString()}.` : "";
      const reading = told.reading.length ? `Reading ${told.reading.join(", ")} …` : "";
      this.status.textContent = [at, reading].filter(Boolean).join(" ");
      if (JSON.stringify(shown) !== this.shown) {
        this.shown = JSON.stringify(shown);
        this.render(told);
      }
      next = told.reading.length ? 2000 : 60000;
    } catch (error) {
      this.status.textContent = error.message;
      next = 60000;
    }
    if (!this.closed) this.timer = setTimeout(() => this.load(), next);
  }

  legend() {
    const items = [...ORDER].map((state) => {
      const [sign, word, meaning] = STATES[state];
      const drawn = make("span", { class: "sign", "data-state": state, "data-sign": sign, "aria-hidden": "true" });
      return make("li", { title: meaning }, drawn, word);
    });
    return make("ul", { "aria-label": "What the signs mean" }, ...items);
  }

  render(told) {
    const parts = [];
    if (told.problems.length) {
      const items = told.problems.map((it) => make("li", {}, it));
      parts.push(make("ul", { class: "problems", "aria-label": "What could not be read" }, ...items));
    }
    if (!told.series.length && !told.reading.length) {
      parts.push(make("p", {}, "Nothing is landed yet by the DAGs that you may see, and nothing is under way."));
    }
    told.series.forEach((series, index) => {
      const view = this.views.get(series.id) ?? { open: index < OPENED, page: null, focus: null };
      this.views.set(series.id, view);
      parts.push(this.section(series, view));
    });
    const focused = this.root.activeElement?.dataset.key;
    this.content.replaceChildren(...parts);
    if (focused) this.content.querySelector(`[data-key="${focused}"]`)?.focus();
  }

  section(series, view) {
    const about = [series.stripe_account, series.livemode === false ? "test data" : null];
    about.push(...Object.entries(series.filters).map((it) => it.join("=")), series.format);
    const counts = countsOf(series.states).map(([state, count]) => {
      const [sign, word] = STATES[state];
      const drawn = make("span", { class: "sign", "data-state": state, "data-sign": sign, "aria-hidden": "true" });
      return make("li", {}, drawn, `${count.toLocaleString("en")} ${word}`);
    });
    if (series.without_interval) counts.push(make("li", {}, `${series.without_interval} landed, which have no interval`));
    const body = make("div", { class: "body", id: `body-${series.id}` });
    const name = make("span", { class: "name" }, [series.report_type, ...about.filter(Boolean)].join(" · "));
    const lead = make("button", {
      type: "button", class: "series", "aria-expanded": `${view.open}`, "aria-controls": body.id,
      "data-key": `lead-${series.id}`,
      onclick: () => {
        view.open = !view.open;
        lead.setAttribute("aria-expanded", `${view.open}`);
        fill();
      },
    }, name);
    const fill = () => {
      body.hidden = !view.open;
      body.replaceChildren(...(view.open ? this.calendar(series, view) : []));
    };
    fill();
    const list = make("ul", { class: "counts", "aria-label": "Intervals" }, ...counts);
    return make("section", {}, make("h2", {}, lead), list, body);
  }

  calendar(series, view) {
    const step = series.step ? `, by the ${series.step}` : "";
    const dags = series.dag_ids.length ? `Landed by ${series.dag_ids.join(", ")}.` : "No DAG that lands it now is known.";
    const lines = [make("p", { class: "dim" }, `${series.where}${step}. ${dags}`)];
    if (!series.states) return lines;
    const pages = pagesOf(series);
    const names = [...pages.keys()];
    const page = names.includes(view.page) ? view.page : names.at(-1);
    const grid = make("div", { class: "calendar" });
    const show = (name) => {
      view.page = name;
      const tables = tablesOf(series, pages.get(name));
      grid.classList.toggle("wide", Boolean(tables[0]?.wide));
      grid.replaceChildren(...tables.map((it) => this.table(series, view, it)));
      const cells = [...grid.querySelectorAll("td[data-state]")];
      const first = cells.find((it) => it.dataset.end === `${view.focus}`) ?? cells.at(-1);
      first?.setAttribute("tabindex", "0");
    };
    const chooser = this.chooser(series, pages, page, show);
    grid.addEventListener("keydown", (event) => this.move(event, grid, chooser));
    grid.addEventListener("click", (event) => {
      const cell = event.target.closest("td[data-state]");
      if (cell) this.choose(grid, cell, series);
    });
    show(page);
    if (names.length > 1) lines.push(chooser.element);
    lines.push(grid);
    if (/[mf]/.test(series.states)) lines.push(this.gaps(series));
    return lines;
  }

  chooser(series, pages, page, show) {
    const names = [...pages.keys()];
    const textOf = (name) => {
      const open = pages.get(name).filter((it) => "mft".includes(it.state)).length;
      return open ? `${name} (${open})` : name;
    };
    const labelOf = (name) => {
      const counts = countsOf(pages.get(name).map((it) => it.state));
      return `${name}: ${counts.map(([state, count]) => `${count} ${STATES[state][1]}`).join(", ")}`;
    };
    let current = page;
    if (names.length > LONGEST) {
      const options = names.map((name) => make("option", { value: name, selected: name === page }, textOf(name)));
      const select = make("select", { "aria-label": "Month", onchange: () => { current = select.value; show(current); } }, ...options);
      const turn = (by) => {
        const next = names[names.indexOf(current) + by];
        if (next) { select.value = next; current = next; show(next); }
        return Boolean(next);
      };
      return { element: make("div", { class: "pages" }, select), turn };
    }
    const buttons = new Map(names.map((name) => [name, make("button", {
      type: "button", "aria-pressed": `${name === page}`, "aria-label": labelOf(name), "data-key": `${series.id}-${name}`,
      onclick: () => press(name),
    }, textOf(name))]));
    const press = (name) => {
      buttons.get(current).setAttribute("aria-pressed", "false");
      current = name;
      buttons.get(current).setAttribute("aria-pressed", "true");
      show(name);
    };
    const turn = (by) => {
      const next = names[names.indexOf(current) + by];
      if (next) press(next);
      return Boolean(next);
    };
    return { element: make("div", { class: "pages", role: "group", "aria-label": "Years" }, ...buttons.values()), turn };
  }

  table(series, view, { caption, heads, rows }) {
    const label = caption || `${series.report_type}, ${view.page}`;
    const head = heads.length
      ? make("thead", {}, make("tr", {}, ...heads.map((it) => make("th", { scope: "col" }, it))))
      : null;
    const body = rows.map(([name, cells]) => make("tr", {},
      name ? make("th", { scope: "row" }, name) : null,
      ...Array.from({ length: heads.length || cells.length }, (_, at) => this.cell(series, view, cells[at]))));
    return make("table", { role: "grid", "aria-label": label }, caption ? make("caption", {}, caption) : null, head,
      make("tbody", {}, ...body));
  }

  cell(series, view, it) {
    if (!it) return make("td");
    const [sign, word] = STATES[it.state];
    return make("td", {
      tabindex: "-1", "data-state": it.state, "data-sign": sign, "data-start": it.start, "data-end": it.end,
      "data-key": `${series.id}-${it.end}`, "aria-label": `${nameOf(series, it)}: ${word}`,
    }, it.text);
  }

  move(event, grid, chooser) {
    const cell = event.target.closest("td[data-state]");
    if (!cell || event.ctrlKey || event.altKey || event.metaKey) return;
    const cells = [...grid.querySelectorAll("td[data-state]")];
    const at = cells.indexOf(cell);
    const across = (by) => {
      const rows = [...grid.querySelectorAll("tbody tr")];
      for (let row = rows.indexOf(cell.parentElement) + by; rows[row]; row += by) {
        const found = rows[row].cells[cell.cellIndex];
        if (found?.dataset.state) return found;
      }
      return null;
    };
    let to = null;
    switch (event.key) {
      case "ArrowLeft": to = cells[at - 1]; break;
      case "ArrowRight": to = cells[at + 1]; break;
      case "ArrowUp": to = across(-1); break;
      case "ArrowDown": to = across(1); break;
      case "Home": to = cells[0]; break;
      case "End": to = cells.at(-1); break;
      case "PageUp": case "PageDown":
        if (chooser.turn(event.key === "PageUp" ? -1 : 1)) {
          to = [...grid.querySelectorAll("td[data-state]")].at(event.key === "PageUp" ? -1 : 0);
        }
        break;
      case "Enter": case " ": cell.click(); break;
      default: return;
    }
    event.preventDefault();
    if (to) this.focus(grid, to);
  }

  focus(grid, cell) {
    grid.querySelectorAll('td[tabindex="0"]').forEach((it) => it.setAttribute("tabindex", "-1"));
    cell.setAttribute("tabindex", "0");
    cell.focus();
  }

  async choose(grid, cell, series) {
    this.focus(grid, cell);
    const view = this.views.get(series.id);
    const [start, end] = [Number(cell.dataset.start), Number(cell.dataset.end)];
    view.focus = end;
    const [, word, meaning] = STATES[cell.dataset.state];
    const title = make("h2", { id: "of" }, `${nameOf(series, { start, end })}: ${word}`);
    const close = make("button", { type: "button", autofocus: "", onclick: () => this.dialog.close() }, "Close");
    const told = make("div", { "aria-live": "polite" }, make("p", { class: "dim" }, "Reading …"));
    this.dialog.replaceChildren(make("div", { class: "head" }, title, close), make("p", {}, meaning), told);
    this.dialog.showModal();
    try {
      told.replaceChildren(...this.told(series, await ask("interval", { series: series.id, end })));
    } catch (error) {
      told.replaceChildren(make("p", {}, error.message));
    }
  }

  told(series, { manifest, dag_runs: runs, backfills, problem }) {
    const parts = [];
    if (problem) parts.push(make("p", {}, problem));
    if (manifest) {
      const rows = manifest.rows === null ? "not counted: Stripe compressed the file" : manifest.rows.toLocaleString("en");
      const size = manifest.size === null ? null : `${manifest.size.toLocaleString("en")} bytes`;
      const fields = [
        ["Rows", rows], ["Report run", manifest.report_run_id], ["Report type", manifest.report_type],
        ["Interval", manifest.interval_end && `${manifest.interval_start ?? ""} to ${manifest.interval_end}`],
        ["Account", manifest.stripe_account], ["Landed", manifest.landed_at], ["Landed by", manifest.landed_by],
        ["Where", series.where], ["Name, format, size", [manifest.path, manifest.format, size].filter(Boolean).join(", ")],
        ["Checksum (SHA-256)", manifest.sha256], ["File at Stripe", manifest.file_id],
      ];
      const known = fields.filter(([, value]) => value);
      parts.push(make("dl", {}, ...known.flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, value)])));
    }
    for (const run of runs) {
      const links = [make("a", { href: new URL(run.address, AIRFLOW) }, `${run.dag_id}, ${run.run_id}`), ` (${run.state})`];
      if (run.stripe.startsWith("https://")) {
        links.push(" · ", make("a", { href: run.stripe, rel: "noopener noreferrer" }, "Stripe's log of the request"));
      }
      parts.push(make("p", {}, ...links));
    }
    if (!runs.length) parts.push(make("p", { class: "dim" }, "Airflow knows no DAG run of it."));
    return [...parts, ...backfills.map((it) => this.command(it))];
  }

  gaps(series) {
    const found = make("div", { "aria-live": "polite" });
    const button = make("button", {
      type: "button", "aria-expanded": "false", "data-key": `gaps-${series.id}`,
      onclick: async () => {
        try {
          const { backfills, left } = await ask("gaps", { series: series.id });
          const rest = left ? [make("p", {}, `No run of these DAGs reports on ${left} of the intervals.`)] : [];
          found.replaceChildren(...backfills.map((it) => this.command(it)), ...rest);
        } catch (error) {
          found.replaceChildren(make("p", {}, error.message));
        }
        button.setAttribute("aria-expanded", "true");
      },
    }, "How to fill the gaps");
    return make("div", { class: "gaps" }, button, found);
  }

  command(backfill) {
    const copied = make("button", {
      type: "button",
      onclick: async () => {
        try {
          await navigator.clipboard.writeText(backfill.command);
          copied.textContent = "Copied";
        } catch { // without https there is no clipboard
          getSelection().selectAllChildren(line);
        }
      },
    }, "Copy");
    const line = make("pre", { tabindex: "0", "aria-label": "Command" }, backfill.command);
    const runs = `${backfill.runs} DAG ${backfill.runs === 1 ? "run" : "runs"} of ${backfill.dag_id}`;
    return make("div", {}, make("div", { class: "bar" }, make("span", {}, runs), copied), line);
  }
}

function StripeReports() {
  const { createElement, useEffect, useRef } = globalThis.React;
  const host = useRef(null);
  useEffect(() => {
    const page = new Coverage(host.current);
    return () => page.close();
  }, []);
  return createElement("div", { ref: host, id: "stripe-reports", style: { height: "100%", overflow: "auto" } });
}

const alone = document.querySelector("main#stripe-reports");
if (alone) new Coverage(alone);
else globalThis["Stripe reports"] = globalThis.AirflowPlugin = StripeReports;
