import { describe, expect, it } from 'vitest';
import {
  absolutePath,
  baseOf,
  meansDirectory,
  parentOf,
  placeCopy,
  splitCopyArgument,
} from '../../../src/engine/copy-rules.ts';

const file = (path: string) => ({ path, isDirectory: false });
const directory = (path: string) => ({ path, isDirectory: true });
const missing = (path: string) => ({ path, isDirectory: false, exists: false });
const found = <T>(it: T) => ({ ...it, exists: true });

describe('placeCopy()', () => {
  it.each([
    // Source, destination, directory that the entries go to, their name. The rows of Docker's documentation.
    [file('/s/f'), missing('/d/new'), '/d', 'new'],
    [file('/s/f'), found(file('/d/old')), '/d', 'old'],
    [file('/s/f'), found(directory('/d')), '/d', 'f'],
    [file('/s/f'), found(directory('/d/')), '/d/', 'f'],
    [file('/s/f'), missing('/new'), '/', 'new'],
    [directory('/s/d'), missing('/d/new'), '/d', 'new'],
    [directory('/s/d'), missing('/d/new/'), '/d', 'new'],
    [directory('/s/d/.'), missing('/d/new'), '/d', 'new'],
    [directory('/s/d'), found(directory('/d')), '/d', 'd'],
    [directory('/s/d/'), found(directory('/d')), '/d', 'd'],
    [directory('/s/d/.'), found(directory('/d')), '/d', '.'],
    [directory('/'), found(directory('/d')), '/d', '.'],
    [{ ...file('/real/target'), name: 'link' }, found(directory('/d')), '/d', 'link'],
  ])('places %j at %j', (source, destination, where, name) => {
    expect(placeCopy(source, destination)).toEqual({ directory: where, name });
  });

  it.each([
    [file('/s/f'), missing('/d/new/'), 'no such directory'],
    [file('/s/f'), missing('/d/new/.'), 'no such directory'],
    [file('/s/f/'), found(directory('/d')), 'not a directory'],
    [directory('/s/d'), found(file('/d/old')), 'cannot copy directory'],
    [directory('/s/d/.'), found(file('/d/old')), 'cannot copy directory'],
  ])('refuses %j to %j', (source, destination, message) => {
    expect(() => placeCopy(source, destination)).toThrow(message);
  });
});

describe('splitCopyArgument()', () => {
  it.each([
    ['web:/etc/hosts', { container: 'web', path: '/etc/hosts' }],
    ['web:etc', { container: 'web', path: 'etc' }],
    ['web:a:b', { container: 'web', path: 'a:b' }],
    ['web:', { container: 'web', path: '' }],
    ['/tmp/file:name', { path: '/tmp/file:name' }],
    ['./file:name', { path: './file:name' }],
    ['../file:name', { path: '../file:name' }],
    ['plain', { path: 'plain' }],
    ['-', { path: '-' }],
  ])('takes %j apart', (text, expected) => {
    expect(splitCopyArgument(text)).toEqual(expected);
  });
});

describe('absolutePath()', () => {
  it.each([
    ['etc/hosts', '/', '/etc/hosts'],
    ['', '/', '/'],
    ['/', '/x', '/'],
    ['a//b/../c', '/x', '/x/a/c'],
    ['dir/', '/x', '/x/dir/'],
    ['dir/.', '/x', '/x/dir/.'],
    ['.', '/x', '/x/.'],
    ['./', '/x', '/x/'],
    ['..', '/x/y', '/x'],
    ['../../../..', '/x', '/'],
    ['/../../etc', '/', '/etc'],
  ])('makes %j in %j to %j', (path, base, expected) => {
    expect(absolutePath(path, base)).toBe(expected);
  });
});

describe('baseOf(), parentOf(), meansDirectory()', () => {
  it.each([
    ['/a/b', 'b', '/a', false],
    ['/a/b/', 'b', '/a', true],
    ['/a/b/.', '.', '/a', true],
    ['/a', 'a', '/', false],
    ['/', '.', '/', true],
    ['/a/.b', '.b', '/a', false],
  ])('of %j', (path, base, parent, isDirectory) => {
    expect([baseOf(path), parentOf(path), meansDirectory(path)]).toEqual([base, parent, isDirectory]);
  });
});
