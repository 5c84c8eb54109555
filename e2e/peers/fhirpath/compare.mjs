// Compares answers of two FHIRPath engines on real records.
//
//   node compare.mjs jobs DATA CORE OUT     writes OUT/resources.ndjson and OUT/jobs.ndjson
//   node compare.mjs compare OUT            reads OUT/ours.ndjson (a line for each job), asks fhirpath.js, compares
//
// DATA: the folder of the real test data; CORE: the unpacked package hl7.fhir.r4.core. Evaluated are all constraints of
// R4 core, all expressions of its search parameters, and the expressions of the HL7 suite. Every disagreement must be
// explained by a row of disagreements.json, and every row must explain one.
import fs from 'node:fs';
import path from 'node:path';
import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);
/** Resources of one type that are taken out of each source. */
const EACH = 4;

const read = (file) => JSON.parse(fs.readFileSync(file, 'utf8').replace(/^\uFEFF/, ''));
const jsonFiles = (folder) => fs.readdirSync(folder).filter((f) => f.endsWith('.json')).sort().map((f) => path.join(folder, f));
const lines = (file) => fs.readFileSync(file, 'utf8').split('\n').filter(Boolean).map((line) => JSON.parse(line));

function sample(data) {
  const chosen = [];
  for (const source of ['a-', 'b-', 'examples']) {
    const folder = path.join(data, 'fhir', source === 'examples' ? source : 'synthea');
    const taken = new Map();
    for (const file of jsonFiles(folder)) {
      if (source !== 'examples' && !path.basename(file).startsWith(source)) continue;
      const document = read(file);
      for (const resource of [document, ...(document.entry ?? []).map((e) => e.resource)]) {
        const type = resource?.resourceType;
        // A whole patient says nothing that its parts do not, and takes minutes.
        if (!type || JSON.stringify(resource).length > 60000) continue;
        const count = taken.get(type) ?? 0;
        if (count >= EACH) continue;
        taken.set(type, count + 1);
        chosen.push(resource);
      }
    }
  }
  return chosen;
}

/** Where a constraint applies, as an expression on the resource. */
function place(element, kind) {
  if (kind === 'resource') return ['Resource', 'DomainResource'].includes(element.path) ? '' : element.path;
  const [type, ...rest] = element.path.split('.');
  if (type === 'Element' || type === 'BackboneElement') return 'descendants()';
  // `div` is an operator too.
  return [`descendants().ofType(${type})`, ...rest.map((name) => `\`${name}\``)].join('.');
}

function jobs(data, core, out) {
  const resources = sample(data);
  const found = [];
  const definitions = jsonFiles(core).map((f) => path.basename(f));
  const expressions = new Map();
  for (const file of definitions.filter((f) => f.startsWith('StructureDefinition-'))) {
    const sd = read(path.join(core, file));
    if (sd.derivation === 'constraint' || !['resource', 'complex-type'].includes(sd.kind)) continue;
    for (const element of sd.snapshot?.element ?? []) {
      for (const c of element.constraint ?? []) {
        // Those of other types stand with their type.
        if (!c.expression || (c.source && c.source !== sd.url)) continue;
        const at = place(element, sd.kind);
        const expression = at ? `${at}.select(${c.expression})` : c.expression;
        const type = sd.kind === 'resource' && !['Resource', 'DomainResource'].includes(sd.type) ? sd.type : null;
        expressions.set(`${sd.type} ${expression}`, { set: 'constraint', name: `${element.path}#${c.key}`, expression, type });
      }
    }
  }
  for (const file of definitions.filter((f) => f.startsWith('SearchParameter-'))) {
    const sp = read(path.join(core, file));
    for (const base of sp.expression ? sp.base : []) {
      const type = ['Resource', 'DomainResource'].includes(base) ? null : base;
      expressions.set(`${base} ${sp.expression}`, { set: 'search', name: `${base}?${sp.code}`, expression: sp.expression, type });
    }
  }
  for (const job of expressions.values()) {
    resources.forEach((resource, at) => {
      if (job.type === null || job.type === resource.resourceType) found.push({ ...job, resource: at, lenient: true });
    });
  }
  const inputs = new Map();
  for (const test of read(path.join(data, 'fhir/fhirpath-cases/tests.json')).tests) {
    if ((test.invalid && test.invalid !== 'false') || !test.input || test.predicate) continue;
    if (!inputs.has(test.input)) {
      inputs.set(test.input, resources.length);
      resources.push(read(path.join(data, 'fhir/fhirpath-cases/input', test.input)));
    }
    found.push({ set: 'suite', name: `${test.group}/${test.name}`, expression: test.expression, resource: inputs.get(test.input), lenient: false });
  }
  fs.writeFileSync(path.join(out, 'resources.ndjson'), resources.map((r) => JSON.stringify(r)).join('\n') + '\n');
  fs.writeFileSync(path.join(out, 'jobs.ndjson'), found.map((j) => JSON.stringify(j)).join('\n') + '\n');
  const count = (set) => found.filter((j) => j.set === set).length;
  console.log(`${resources.length} resources, ${expressions.size} expressions of the definitions; evaluations: ` +
    `${count('constraint')} of constraints, ${count('search')} of search parameters, ${count('suite')} of the suite`);
}

/** Both engines' values in one form: keys sorted, a type as its name, times without mark. */
function plain(value) {
  if (Array.isArray(value)) return value.map(plain);
  if (value === null || typeof value !== 'object') return value;
  if (value.constructor?.name === 'TypeInfo') return `${value.namespace}.${value.name}`;
  const keys = Object.keys(value).filter((k) => !k.startsWith('__')).sort();
  return Object.fromEntries(keys.map((k) => [k, plain(value[k])]));
}

function compare(out) {
  const fhirpath = require('fhirpath');
  const r4 = require('fhirpath/fhir-context/r4');
  const version = require('fhirpath/package.json').version;
  const resources = lines(path.join(out, 'resources.ndjson'));
  const all = lines(path.join(out, 'jobs.ndjson'));
  const ours = lines(path.join(out, 'ours.ndjson'));
  if (ours.length !== all.length) throw new Error(`${ours.length} answers to ${all.length} jobs`);
  const reasons = read(new URL('disagreements.json', import.meta.url).pathname)
    .map((row) => ({ ...row, pattern: new RegExp(row.match), count: 0 }));
  const programs = new Map();
  const peer = (job) => {
    try {
      if (!programs.has(job.expression)) {
        programs.set(job.expression, fhirpath.compile(job.expression, r4, { async: false, traceFn: () => {} }));
      }
      const resource = resources[job.resource];
      return { values: programs.get(job.expression)(resource, { resource, rootResource: resource }) };
    } catch (error) {
      return { error: String(error.message ?? error).split('\n')[0] };
    }
  };
  const sums = {};
  const open = new Map();
  const differ = new Set();
  all.forEach((job, at) => {
    const sum = (sums[job.set] ??= { evaluated: 0, agree: 0, explained: 0, open: 0, items: 0 });
    sum.evaluated += 1;
    const mine = ours[at];
    const theirs = peer(job);
    const same = mine.error || theirs.error
      ? Boolean(mine.error) && Boolean(theirs.error)
      : JSON.stringify(plain(mine.values)) === JSON.stringify(plain(theirs.values));
    sum.items += mine.values?.length ?? 0;
    if (same) {
      sum.agree += 1;
      return;
    }
    differ.add(`${job.set} ${job.name}`);
    const short = (answer) => answer.error ? `error: ${answer.error}`.slice(0, 160) : JSON.stringify(plain(answer.values)).slice(0, 160);
    const shown = `${job.set} ${job.name} ${job.expression}\nours ${short(mine)}\npeer ${short(theirs)}`;
    const known = reasons.find((row) => (!row.set || row.set === job.set) && row.pattern.test(shown));
    if (known) {
      known.count += 1;
      sum.explained += 1;
      return;
    }
    sum.open += 1;
    const key = `${job.set} ${job.name}`;
    if (!open.has(key)) open.set(key, shown);
  });
  console.log(`fhirpath.js ${version}`);
  for (const [set, sum] of Object.entries(sums)) {
    console.log(`${set}: ${sum.evaluated} evaluations with ${sum.items} results, ${sum.agree} agree, ` +
      `${sum.explained} differ with a reason, ${sum.open} without`);
  }
  console.log(`expressions and cases that differ anywhere: ${differ.size}`);
  for (const row of reasons) console.log(`${String(row.count).padStart(6)}  ${row.match}: ${row.reason}`);
  for (const shown of open.values()) console.log(`\n${shown}`);
  const idle = reasons.filter((row) => row.count === 0);
  if (idle.length) console.log(`reasons that explain nothing: ${idle.map((row) => row.match).join(', ')}`);
  process.exit(open.size || idle.length ? 1 : 0);
}

const [verb, ...rest] = process.argv.slice(2);
if (verb === 'jobs') jobs(...rest);
else compare(...rest);
