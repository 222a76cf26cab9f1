// A bridge in Node.js: a WebSocket for each stream, a message for each packet, no voice activity.
// Arguments: first port, streams, endpoint. It prints "received N" when standard input ends.
'use strict';
const dgram = require('dgram');
const WebSocket = require('ws');

const [first, legs, endpoint] = process.argv.slice(2);
const START = '{"command":"START","config":{"audio_format":"pcm8k16bit","property":"chinese_8k_common"}}';

const table = (decode) => Int16Array.from({ length: 256 }, (_, code) => decode(code));
const ulaw = table((code) => {
  const inverted = ~code & 0xff;
  const magnitude = ((((inverted & 0x0f) << 3) + 0x84) << ((inverted & 0x70) >> 4)) - 0x84;
  return inverted & 0x80 ? -magnitude : magnitude;
});
const alaw = table((code) => {
  const toggled = code ^ 0x55;
  const exponent = (toggled & 0x70) >> 4;
  let magnitude = ((toggled & 0x0f) << 4) + 8;
  if (exponent > 0) magnitude = (magnitude + 0x100) << (exponent - 1);
  return toggled & 0x80 ? magnitude : -magnitude;
});

let received = 0;
for (let leg = 0; leg < Number(legs); leg++) {
  const socket = dgram.createSocket('udp4');
  let recogniser = null;
  socket.on('message', (datagram) => {
    received++;
    if (recogniser === null) {
      recogniser = new WebSocket(`${endpoint.replace('localhost', '127.0.0.1')}/v1/local/rasr/short-stream`);
      recogniser.on('open', () => recogniser.send(START));
      recogniser.on('error', (error) => console.error(`a stream of the bridge failed: ${error.message}`));
    }
    if (recogniser.readyState !== WebSocket.OPEN) return;
    const decode = (datagram[1] & 0x7f) === 0 ? ulaw : alaw;
    const pcm = Buffer.allocUnsafe((datagram.length - 12) * 2);
    for (let at = 12; at < datagram.length; at++) pcm.writeInt16LE(decode[datagram[at]], (at - 12) * 2);
    recogniser.send(pcm);
  });
  socket.bind(Number(first) + 2 * leg, '127.0.0.1');
}

process.stdin.resume();
process.stdin.on('end', () => {
  console.log(`received ${received}`);
  process.exit(0);
});
