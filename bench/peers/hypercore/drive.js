'use strict'
// hypercore: one signed log, its whole range downloaded live.

const Hypercore = require('hypercore')
const { run } = require('../common.js')

async function open ({ dir, keys }) {
  const core = new Hypercore(dir, keys ? keys[0] : null)
  await core.ready()
  return {
    keys: [core.key.toString('hex')],
    append: (author, entries) => core.append(entries),
    join (socket, initiator) {
      const stream = core.replicate(initiator)
      stream.on('error', () => {})
      socket.pipe(stream).pipe(socket)
    },
    held (expect) {
      core.download({ start: 0, end: -1 })
      return new Promise((resolve) => {
        core.on('download', () => { if (core.contiguousLength >= expect) resolve() })
      })
    },
    async follow (onentry) {
      for await (const entry of core.createReadStream({ start: core.length, live: true })) {
        onentry(entry)
      }
    },
    bytes: () => core.byteLength,
    close: () => core.close()
  }
}

run(require('./package.json'), open)
