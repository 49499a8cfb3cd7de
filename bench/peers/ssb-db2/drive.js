'use strict'
// ssb-db2 with ssb-ebt over secret-stack: classic feeds, every message signed.

const caps = require('ssb-caps')
const path = require('path')
const SecretStack = require('secret-stack')
const ssbKeys = require('ssb-keys')
const { promisify } = require('util')
const { run } = require('../common.js')

const Stack = SecretStack({ caps })
  .use(require('ssb-db2'))
  .use(require('ssb-db2/compat/ebt'))
  .use(require('ssb-ebt'))

// A post of as many characters as the entry has bytes.
const post = (entry) => ({ type: 'post', text: entry.toString('hex').slice(0, entry.length) })

async function open ({ dir, keys, authors }) {
  const own = ssbKeys.loadOrCreateSync(path.join(dir, 'secret'))
  const writers = []
  for (let i = 0; !keys && i < authors; i++) {
    writers.push(ssbKeys.loadOrCreateSync(path.join(dir, `author-${i}`)))
  }
  const feeds = keys ? keys.feeds : writers.map((w) => w.id)
  const ssb = Stack({
    path: dir,
    keys: own,
    timers: { inactivity: 600e3, handshake: 15e3 }, // as ssb-config has them
    connections: {
      incoming: { net: [{ scope: 'device', host: '127.0.0.1', port: 0, transform: 'shs' }] },
      outgoing: { net: [{ transform: 'shs' }] }
    }
  })
  const create = promisify(ssb.db.create)
  const request = () => [own.id, ...feeds].forEach((id) => ssb.ebt.request(id, true))
  return {
    keys: { node: own.id, feeds },
    append: (author, entries) => Promise.all(
      entries.map((entry) => create({ keys: writers[author], content: post(entry) }))
    ),
    async listen () {
      request()
      await promisify(ssb.db.onDrain)('ebt')
      const at = ssb.getAddress('device')
      return Number(/:(\d+)~/.exec(at)[1])
    },
    connect (port) {
      request()
      const key = keys.node.slice(1).replace('.ed25519', '')
      return promisify(ssb.connect)(`net:127.0.0.1:${port}~shs:${key}`)
    },
    held (expect) {
      let total = 0
      return new Promise((resolve) => {
        ssb.db.onMsgAdded((event) => {
          // Added means in memory: the log's blocks reach the file with onDrain.
          if (event && ++total === expect) ssb.db.getLog().onDrain(resolve)
        })
      })
    },
    follow (onentry) {
      ssb.db.onMsgAdded(({ kvt }) => onentry(Buffer.from(kvt.value.content.text, 'hex')), false)
    },
    close: () => new Promise((resolve) => ssb.db.getLog().onDrain(() => ssb.close(true, resolve)))
  }
}
run(require('./package.json'), open)
