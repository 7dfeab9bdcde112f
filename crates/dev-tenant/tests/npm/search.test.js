// A second opinion on the tenant's reading of searches: npm's `lucene`, on queries made at
// random. Every group is in parentheses, since the two differ (as Lucene's own versions do) on
// what binds tighter.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import lucene from 'lucene';

import { httpUrl } from './tenant.js';

/** Numbers that are the same in every run (mulberry32). */
function random(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

const next = random(20100619);
const below = (n) => Math.floor(next() * n);
const pick = (list) => list[below(list.length)];

const letters = [...'abcxyz019éß😀_'];
const word = () => Array.from({ length: 1 + below(6) }, () => pick(letters)).join('');
const special = () => Array.from({ length: 1 + below(6) }, () => pick([...letters, ...'"\\:()[]{}^~*?+-!&| /'])).join('');
const field = () => pick(['email', 'name', 'app_metadata.plan', 'user_metadata.a.b', 'identities.connection']);
const quote = (text) => `"${text.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`;
/** With a backslash before everything that this library may see as syntax. */
const escape = (text) => text.replaceAll(/["\\:()[\]{}^~*?+\-!&| /]/g, '\\$&');

/** A random query: its tree, and the tree in the syntax. */
function query(depth) {
  if (depth > 0 && below(3) > 0) {
    const kind = below(3);
    const [one, two] = [query(depth - 1), query(depth - 1)];
    if (kind === 2) return { tree: { not: one.tree }, text: `(NOT ${one.text})` };
    const [name, operator] = kind === 0 ? ['and', 'AND'] : ['or', 'OR'];
    return { tree: { [name]: [one.tree, two.tree] }, text: `(${one.text} ${operator} ${two.text})` };
  }
  const at = field();
  switch (below(5)) {
    case 0: {
      const value = special();
      return { tree: { phrase: [at, value] }, text: `${at}:${quote(value)}` };
    }
    case 1: {
      const value = word() + special();
      return { tree: { term: [at, value] }, text: `${at}:${escape(value)}` };
    }
    case 2: {
      const [before, behind] = [word(), word()];
      return { tree: { pattern: [at, `${before}*${behind}`] }, text: `${at}:${before}*${behind}` };
    }
    case 3: {
      const [open, close] = [pick('[{'), pick(']}')];
      const [from, to] = [pick([word(), '*']), pick([word(), '*'])];
      return {
        tree: { range: [at, from, to, open === '[', close === ']'] },
        text: `${at}:${open}${from} TO ${to}${close}`,
      };
    }
    default:
      return { tree: { term: ['_exists_', at] }, text: `_exists_:${at}` };
  }
}

/** The tree of npm's `lucene` in our terms. */
function ofLucene(node) {
  if (node.operator === undefined && node.left) {
    return node.start === 'NOT' ? { not: ofLucene(node.left) } : ofLucene(node.left);
  }
  if (node.operator) {
    const both = [ofLucene(node.left), ofLucene(node.right)];
    return node.operator === 'AND' ? { and: both } : { or: both };
  }
  if (node.term_min !== undefined) {
    const open = ['both', 'left'].includes(node.inclusive);
    const close = ['both', 'right'].includes(node.inclusive);
    return { range: [node.field, node.term_min, node.term_max, open, close] };
  }
  const value = node.term.replaceAll(/\\(.)/gsu, '$1');
  if (node.quoted) return { phrase: [node.field, value] };
  const bare = node.term.replaceAll(/\\./gsu, '');
  return bare.includes('*') ? { pattern: [node.field, value] } : { term: [node.field, value] };
}

/** The tree of the tenant in our terms. */
function ofTenant(tree) {
  const [[kind, content]] = Object.entries(tree);
  switch (kind) {
    case 'and':
    case 'or':
      return { [kind]: content.map(ofTenant) };
    case 'not':
      return { not: ofTenant(content) };
    case 'exists':
      return { term: ['_exists_', content] };
    case 'wildcard': {
      const pieces = content.pattern.map((piece) => (piece === 'any' ? '*' : piece.text));
      return { pattern: [content.field, pieces.join('')] };
    }
    case 'range':
      return {
        range: [content.field, content.from ?? '*', content.to ?? '*', content.from_inclusive, content.to_inclusive],
      };
    default:
      return { [kind]: [content.field, content.value] };
  }
}

test('two parsers read the same tree', async () => {
  const queries = Array.from({ length: 2000 }, () => query(4));
  const response = await fetch(`${httpUrl}/_dev/search/parse`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ queries: queries.map(({ text }) => text) }),
  });
  const answers = await response.json();
  queries.forEach(({ tree, text }, n) => {
    assert.ok(answers[n].tree, `${text}: ${answers[n].error}`);
    assert.deepEqual(ofTenant(answers[n].tree), tree, `the tenant on ${text}`);
    assert.deepEqual(ofLucene(lucene.parse(text)), tree, `lucene on ${text}`);
  });
});
