'use strict'
// What the drivers share: the roles, their arguments and their figures.
//
// A driver calls `run(require('./package.json'), open)`: the package names the
// versions and what they promise, and open({ dir, keys, authors }) gives a log with
//   keys                what a reader has to know to ask for this log
//   append(author, entries)     stores a list of Buffers, resolves when stored
//   join(socket, initiator)     replicates over a TCP socket (or, for a system
//                               that brings its own transport, listen / connect)
//   held(expect)        resolves when that many entries are held, verified, on disk
//   follow(onentry)     calls onentry with each entry arriving from now on
//   bytes()             payload bytes held, where the system knows
//   close()

const channel = require('diagnostics_channel')
const crypto = require('crypto')
const fs = require('fs')
const net = require('net')
const path = require('path')
const readline = require('readline')
const { once } = require('events')
const { parseArgs } = require('util')
const { setTimeout: sleep } = require('timers/promises')

const POOL = 32 * 1024 * 1024

const say = (line) => process.stdout.write(JSON.stringify(line) + '\n')
const now = () => Number(process.hrtime.bigint()) / 1e9

// Incompressible entries: no store gains by compressing them.
function entries (count, size) {
  const pool = crypto.randomBytes(Math.max(Math.min(count * size, POOL), size))
  const room = pool.length - size + 1
  return (from, n) => Array.from({ length: n }, (_, i) => {
    const at = ((from + i) * size) % room
    return pool.subarray(at, at + size)
  })
}

// Bytes really allocated, so that a sparse file counts for what it holds.
function disk (dir) {
  let total = 0
  for (const found of fs.readdirSync(dir, { withFileTypes: true })) {
    const name = path.join(dir, found.name)
    total += found.isDirectory() ? disk(name) : fs.statSync(name).blocks * 512
  }
  return total
}

// Every TCP connection this process opens, whoever opens it.
const opened = []
channel.subscribe('net.client.socket', ({ socket }) => opened.push(socket))
const wire = () => opened.reduce((sum, s) => sum + s.bytesRead + s.bytesWritten, 0)

async function listen (log, port) {
  if (log.listen) return log.listen(port)
  const server = net.createServer((socket) => {
    socket.setNoDelay(true)
    socket.on('error', () => {})
    log.join(socket, false)
  })
  server.listen(port, '127.0.0.1')
  await once(server, 'listening')
  return server.address().port
}

// Resolves with nothing; `lost` rejects when the connection ends too early.
function connect (log, port) {
  const dial = log.connect ? log.connect(port) : (async () => {
    const socket = net.connect(port, '127.0.0.1')
    socket.setNoDelay(true)
    socket.on('error', () => {})
    log.join(socket, true)
    await once(socket, 'connect')
  })()
  const lost = dial.then(() => new Promise((resolve, reject) => {
    for (const s of opened) {
      s.once('close', () => reject(new Error('connection closed before everything was held')))
    }
  }))
  lost.catch(() => {})
  return { dial, lost }
}

function figures (peer, about, count, seconds, bytes) {
  return {
    peer: peer.name,
    version: peer.version,
    workload: about.workload,
    entries: count,
    seconds: +seconds.toFixed(4),
    entries_per_s: +(count / seconds).toFixed(1),
    mb_per_s: +(bytes / seconds / 1e6).toFixed(3),
    rss_mb: +(process.resourceUsage().maxRSS / 1024).toFixed(1)
  }
}

// Untimed for the workloads that replicate; `append` and `append-batches` are
// the measurement themselves and say their figures.
async function prepare (peer, o) {
  const { workload, count, size, authors, batch, flight } = o
  const store = path.join(o.dir, 'store')
  fs.mkdirSync(store, { recursive: true })
  const log = await peer.open({ dir: store, authors })
  const make = entries(count, size)

  const todo = []
  const each = Math.ceil(count / authors)
  for (let from = 0; from < each; from += batch) {
    for (let a = 0; a < authors; a++) {
      const n = Math.min(batch, each - from, count - a * each - from)
      if (n > 0) todo.push([a, a * each + from, n])
    }
  }
  const start = now()
  let next = 0
  const lane = async () => {
    while (next < todo.length) {
      const [author, from, n] = todo[next++]
      await log.append(author, make(from, n))
    }
  }
  await Promise.all(Array.from({ length: flight }, lane))
  const seconds = now() - start
  const line = figures(peer, o, count, seconds, count * size)
  const about = { workload, count, size, authors, keys: log.keys }
  await log.close()
  fs.writeFileSync(path.join(o.dir, 'about.json'), JSON.stringify(about))
  say({
    ...line,
    disk_bytes_per_entry: +(disk(store) / count).toFixed(2),
    wire_bytes_per_entry: null,
    ...peer.promises
  })
}

// Says {"port"}, serves until stdin ends or SIGTERM; a line `go` starts the
// appends of `live`.
async function serve (peer, o) {
  const about = JSON.parse(fs.readFileSync(path.join(o.dir, 'about.json')))
  const log = await peer.open({ dir: path.join(o.dir, 'store'), authors: about.authors })
  const stop = () => {
    setTimeout(() => process.exit(0), 5000).unref()
    Promise.resolve(log.close()).finally(() => process.exit(0))
  }
  process.on('SIGTERM', stop)
  const input = readline.createInterface({ input: process.stdin })
  input.on('close', stop)
  input.on('line', async (line) => {
    if (line.trim() !== 'go') return
    for (let i = 0; i < o.expect; i++) {
      const entry = crypto.randomBytes(Math.max(about.size, 16))
      entry.writeBigUInt64BE(process.hrtime.bigint())
      await log.append(0, [entry])
      await sleep(o.interval)
    }
  })
  say({ port: await listen(log, o.port) })
}

async function receive (peer, o) {
  const about = JSON.parse(fs.readFileSync(o.about))
  const store = path.join(o.dir, 'store')
  fs.mkdirSync(store, { recursive: true })
  return { about, store, log: await peer.open({ dir: store, keys: about.keys }) }
}

async function fetch (peer, o) {
  const { about, store, log } = await receive(peer, o)
  const held = log.held(o.expect)
  const start = now()
  const { dial, lost } = connect(log, o.port)
  await Promise.race([Promise.all([dial, held]), lost])
  const seconds = now() - start
  const bytes = log.bytes ? log.bytes() : o.expect * about.size
  const sent = wire()
  const line = figures(peer, about, o.expect, seconds, bytes)
  await log.close()
  say({
    ...line,
    disk_bytes_per_entry: +(disk(store) / o.expect).toFixed(2),
    wire_bytes_per_entry: +(sent / o.expect).toFixed(2),
    ...peer.promises
  })
}

// hrtime is CLOCK_MONOTONIC, which processes of one machine share.
async function live (peer, o) {
  const { about, log } = await receive(peer, o)
  const held = log.held(about.count)
  const { dial, lost } = connect(log, o.port)
  await Promise.race([Promise.all([dial, held]), lost])
  const took = []
  const all = new Promise((resolve) => {
    log.follow((entry) => {
      if (took.length === o.expect) return
      took.push(Number(process.hrtime.bigint() - entry.readBigUInt64BE()) / 1e6)
      if (took.length === o.expect) resolve()
    })
  })
  await sleep(200)
  say({ ready: true })
  const start = now()
  await Promise.race([all, lost])
  const line = figures(peer, about, o.expect, now() - start, o.expect * about.size)
  const sent = wire()
  took.sort((a, b) => a - b)
  const at = (q) => +took[Math.min(took.length - 1, Math.floor(took.length * q))].toFixed(3)
  say({
    ...line,
    p50_ms: at(0.5),
    p99_ms: at(0.99),
    max_ms: at(1),
    interval_ms: o.interval,
    wire_bytes_per_entry: +(sent / o.expect).toFixed(2),
    ...peer.promises
  })
}

const USAGE = `drive.js prepare --dir D --workload W --count N --size S [--authors A] [--batch B] [--flight F]
drive.js serve --dir D [--port P] [--expect N --interval MS]     (N live appends once told "go")
drive.js fetch --dir E --about D/about.json --port P --expect N
drive.js live --dir E --about D/about.json --port P --expect N`
const TEXT = ['dir', 'about', 'workload']
const NUMBERS = {
  port: 0, expect: 0, interval: 10, count: 1000, size: 100, authors: 1, batch: 1000, flight: 1
}

function options () {
  const named = {}
  for (const name of [...TEXT, ...Object.keys(NUMBERS)]) named[name] = { type: 'string' }
  const { values, positionals } = parseArgs({ options: named, allowPositionals: true })
  const o = { role: positionals[0], ...values }
  for (const [name, usual] of Object.entries(NUMBERS)) {
    o[name] = values[name] === undefined ? usual : Number(values[name])
  }
  if (o.workload === 'append' && !values.batch) o.batch = 1
  if (o.workload === 'append-batches' && !values.flight) o.flight = 4
  return o
}

function run (about, open) {
  const version = Object.entries(about.dependencies).map((pair) => pair.join(' ')).join(', ')
  const name = about.name.replace('peer-', '')
  const peer = { name, version, promises: about.promises, open }
  const o = options()
  const role = { prepare, serve, fetch, live }[o.role]
  if (!role || !o.dir || ((role === fetch || role === live) && !o.about)) {
    console.error(USAGE)
    process.exit(2)
  }
  role(peer, o).then(
    () => { if (role !== serve) process.exit(0) },
    (error) => { console.error(error); process.exit(1) }
  )
}

module.exports = { run }
