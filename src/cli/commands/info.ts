import type { Command } from '../command.ts';
import { print } from '../format.ts';
import { VERSION } from './version.ts';

export const info: Command = {
  name: 'info',
  summary: 'Display information about this store and machine',
  usage: '[OPTIONS]',
  options: [{ long: 'format', short: 'f', type: 'string', help: 'Format output using a Go template' }],
  operands: { min: 0, max: 0 },
  async run({ context, parsed, engine: open }) {
    const engine = await open();
    const containers = await engine.list();
    const count = (status: string): number => containers.filter((one) => one.status === status).length;
    const running = count('running');
    const facts = {
      Containers: containers.length,
      ContainersRunning: running,
      ContainersPaused: 0,
      ContainersStopped: containers.length - running,
      Images: (await engine.images()).length,
      Driver: 'overlay',
      CgroupVersion: await engine.cgroupVersion(),
      OSType: 'linux',
      Architecture: context.architecture,
      DockerRootDir: engine.root,
      RunRoot: engine.runRoot,
      ServerVersion: VERSION,
    };
    const format = parsed.string('format');
    if (format !== undefined) return print(context, facts, format);
    const lines = [
      `Containers: ${facts.Containers}`,
      ` Running: ${facts.ContainersRunning}`,
      ` Stopped: ${facts.ContainersStopped}`,
      `Images: ${facts.Images}`,
      `Version: ${facts.ServerVersion}`,
      `Storage Driver: ${facts.Driver}`,
      `Cgroup Version: ${facts.CgroupVersion}`,
      `OSType: ${facts.OSType}`,
      `Architecture: ${facts.Architecture}`,
      `Root Dir: ${facts.DockerRootDir}`,
      `Run Root: ${facts.RunRoot}`,
    ];
    context.stdout.write(`${lines.join('\n')}\n`);
    return 0;
  },
};
