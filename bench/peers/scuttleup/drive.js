'use strict'
// scuttleup: a scuttlebutt log in LevelDB.

const level = require('level')
const scuttleup = require('scuttleup')
const { once } = require('events')
const { promisify } = require('util')
const { run } = require('../common.js')

async function open ({ dir, keys, authors }) {
  const db = await promisify(level)(dir, { valueEncoding: 'binary' })
  const start = async (id) => {
    const log = scuttleup(db, { id, valueEncoding: 'binary' })
    await once(log, 'ready')
    return log
  }
  // One author is one id; a process has one log, which also holds the others.
  const ids = Array.from({ length: keys ? 0 : authors }, (_, i) => `author-${i}`)
  const logs = await Promise.all(ids.map(start))
  const log = logs.length === 1 ? logs[0] : await start('reader')
  return {
    keys: ids,
    append: (author, entries) => new Promise((resolve, reject) => {
      const last = entries.length - 1 // callbacks come in the order of the appends
      const done = (error) => error ? reject(error) : resolve()
      entries.forEach((entry, i) => logs[author].append(entry, i === last ? done : null))
    }),
    join (socket) {
      const stream = log.createReplicationStream({ mode: 'sync' })
      stream.on('error', () => {})
      socket.pipe(stream).pipe(socket)
    },
    held (expect) {
      let total = 0
      return new Promise((resolve) => {
        log.on('append', () => { if (++total >= expect) resolve() })
      })
    },
    follow (onentry) {
      log.createReadStream({ live: true, tail: true }).on('data', (change) => onentry(change.entry))
    },
    close: () => db.close()
  }
}

run(require('./package.json'), open)
