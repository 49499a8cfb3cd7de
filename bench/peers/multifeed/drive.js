'use strict'
// multifeed: many hypercores (version 9) offered and taken over one connection.

const multifeed = require('multifeed')
const { promisify } = require('util')
const { run } = require('../common.js')

async function open ({ dir, keys, authors }) {
  const multi = multifeed(dir, { valueEncoding: 'binary' })
  await promisify(multi.ready).call(multi)
  const writers = []
  for (let i = 0; !keys && i < authors; i++) {
    writers.push(await promisify(multi.writer).call(multi, `author-${i}`, {}))
  }
  return {
    keys: writers.map((feed) => feed.key.toString('hex')),
    append: (author, entries) => promisify(writers[author].append).call(writers[author], entries),
    join (socket, initiator) {
      const stream = multi.replicate(initiator, { live: true })
      stream.on('error', () => {})
      socket.pipe(stream).pipe(socket)
    },
    held (expect) {
      let total = 0
      return new Promise((resolve) => {
        multi.on('feed', (feed) => {
          feed.on('download', () => { if (++total >= expect) resolve() })
        })
      })
    },
    follow (onentry) {
      for (const feed of multi.feeds()) {
        feed.createReadStream({ start: feed.length, live: true }).on('data', onentry)
      }
    },
    bytes: () => multi.feeds().reduce((sum, feed) => sum + feed.byteLength, 0),
    close: () => promisify(multi.close).call(multi)
  }
}

run(require('./package.json'), open)
