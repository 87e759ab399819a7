import { expect, test } from 'vitest';
import { compileTemplate } from '../../../src/cli/template.ts';

const data = {
  Id: 'abc',
  Name: '/web',
  Args: ['a', 'b'],
  State: { Pid: 12, Running: true, Error: '' },
  Config: { Labels: { 'com.x': 'y', plain: 'z' }, Env: null },
  Networks: { bridge: { IPAddress: '10.0.0.2' } },
};

test.each([
  ['{{.Name}}', '/web'],
  ['{{.ID}}', 'abc'],
  ['{{ .State.Pid }} {{.State.Running}}', '12 true'],
  ['{{json .State}}', '{"Pid":12,"Running":true,"Error":""}'],
  ['{{.Args}}', '[a b]'],
  ['{{join .Args ","}}', 'a,b'],
  ['{{.Args | len}}', '2'],
  ['{{index .Args 1}}', 'b'],
  ['{{index .Config.Labels "com.x"}}', 'y'],
  ['{{.Config.Labels.missing}}', '<no value>'],
  ['{{.Config.Labels}}', 'map[com.x:y plain:z]'],
  ['{{range .Args}}<{{.}}>{{end}}', '<a><b>'],
  ['{{range $i, $a := .Args}}{{$i}}={{$a}};{{end}}', '0=a;1=b;'],
  ['{{range $k, $v := .Config.Labels}}{{$k}}:{{$v}} {{end}}', 'com.x:y plain:z '],
  ['{{range .Networks}}{{.IPAddress}}{{end}}', '10.0.0.2'],
  ['{{range .Config.Env}}x{{else}}none{{end}}', 'none'],
  ['{{if .State.Running}}up{{else}}down{{end}}', 'up'],
  ['{{if .State.Error}}bad{{else if eq .Id "abc"}}abc{{else}}c{{end}}', 'abc'],
  ['{{with .State}}{{.Pid}}{{end}}', '12'],
  ['{{$x := .Id}}{{$x}}{{$.Name}}', 'abc/web'],
  ['{{(index .Args 0) | upper}}', 'A'],
  ['{{printf "%-5s|%03d" .Id 7}}', 'abc  |007'],
  ['a {{- " b" -}}  c', 'a bc'],
  ['{{/* note */}}x', 'x'],
  ['{{"a}}b"}}', 'a}}b'],
  ['{{`raw`}}{{title "hello world"}}', 'rawHello World'],
  ['{{and true .Id}} {{or "" "d"}} {{not false}}', 'abc d true'],
  ['{{split "a:b" ":"}}', '[a b]'],
  ['{{(json .Args)}}', '["a","b"]'],
  ['{{println "x"}}', 'x\n'],
  ['{{truncate "abcdef" 3}}', 'abc'],
])('compileTemplate() renders %s', (source, expected) => {
  expect(compileTemplate(source)(data)).toBe(expected);
});

test.each([
  ['{{', 'unclosed action'],
  ['{{if .X}}', 'unexpected EOF'],
  ['{{end}}', 'unexpected {{end}}'],
  ['{{nosuch .}}', 'function "nosuch" not defined'],
  ['{{.Nope}}', 'map has no entry for key "Nope"'],
  ['{{.Name.X}}', "can't evaluate field X in a string"],
  ['{{$y}}', 'undefined variable "$y"'],
  ['{{(.Id}}', 'unclosed left paren'],
  ['{{.Id | }}', 'missing value for command'],
])('compileTemplate() refuses %s', (source, message) => {
  expect(() => compileTemplate(source)(data)).toThrow(message);
});
