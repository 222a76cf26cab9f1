#!/usr/bin/env python3
"""Has rtpengine copy a call to callscribe: registers the call, then `subscribe request` and `subscribe answer`.

    rtpengine_subscribe.py CALL-ID FROM-TAG=ROLE [FROM-TAG=ROLE]

The call goes on untouched; rtpengine sends callscribe a copy of what each side says. Run it when the call has been
answered, and `curl -X DELETE` the call when it hangs up (or leave that to the idle time-out). Standard library only.
"""

import argparse
import http.client
import json
import re
import socket
import sys
import uuid


def main():
    args = argparse.ArgumentParser()
    args.add_argument("call_id", help="the SIP Call-ID, as rtpengine knows the call")
    args.add_argument("sides", nargs="+", help="FROM-TAG=AGENT or FROM-TAG=CUSTOMER")
    args.add_argument("--ng", default="127.0.0.1:2223", help="rtpengine's listen-ng")
    args.add_argument("--control", default="/run/callscribe/control.sock")
    args = args.parse_args()
    roles = dict(side.rsplit("=", 1) for side in args.sides)

    offer = ng(args.ng, {"command": "subscribe request", "call-id": args.call_id, "from-tags": list(roles)})
    legs = [
        {"role": roles[tag], "expected_source": source}
        for tag, source in zip(offer["from-tags"], senders(offer["sdp"]))
    ]
    call = register(args.control, {"id": args.call_id, "legs": legs, "metadata": {"source": "rtpengine"}})
    answer = sdp_answer(offer["sdp"], call["legs"])
    ng(args.ng, {"command": "subscribe answer", "call-id": args.call_id, "to-tag": offer["to-tag"], "sdp": answer})
    print(json.dumps(call))


def media_sections(sdp):
    session, *media = re.split(r"(?m)^(?=m=)", sdp)
    return session, media


def senders(sdp):
    """IP:PORT that rtpengine will send each stream from."""
    session, media = media_sections(sdp)
    for section in media:
        ip = re.search(r"(?m)^c=IN IP[46] (\S+)", section + session)[1]
        port = re.match(r"m=audio (\d+)", section)[1]
        yield f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}"


def sdp_answer(offer, legs):
    """Accepts each stream as offered, on the port that callscribe gave it."""
    lines = ["v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=callscribe", "t=0 0"]
    for section, leg in zip(media_sections(offer)[1], legs):
        profile, formats = re.match(r"m=audio \d+ (\S+) ([\d ]+)", section).groups()
        family = "IP6" if ":" in leg["ip"] else "IP4"
        lines.append(f"m=audio {leg['local_port']} {profile} {formats.strip()}")
        lines.append(f"c=IN {family} {leg['ip']}")
        lines += re.findall(r"(?m)^a=(?:rtpmap|fmtp|ptime):.*?(?=\r?$)", section)
        lines.append("a=recvonly")
    return "".join(line + "\r\n" for line in lines)


def register(path, call):
    connection = http.client.HTTPConnection("localhost")
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.settimeout(10)
    connection.sock.connect(path)
    connection.request("POST", "/v1/calls", json.dumps(call))
    answer = connection.getresponse()
    body = json.load(answer)
    if answer.status != 201:
        sys.exit(f"callscribe: {body['error']['message']}")
    return body


def ng(address, command):
    """One command of the ng protocol: a cookie and a bencoded dictionary over UDP.

    rtpengine answers a cookie that it has seen with what it answered then.
    """
    cookie = uuid.uuid4().hex.encode()
    host, port = address.rsplit(":", 1)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.settimeout(5)
        udp.sendto(cookie + b" " + bencode(command), (host, int(port)))
        answer, _ = bdecode(udp.recv(65536).split(b" ", 1)[1])
    if answer["result"] != "ok":
        sys.exit(f"rtpengine: {answer.get('error-reason', answer)}")
    return answer


def bencode(value):
    if isinstance(value, dict):
        return b"d" + b"".join(bencode(k) + bencode(v) for k, v in sorted(value.items())) + b"e"
    if isinstance(value, list):
        return b"l" + b"".join(map(bencode, value)) + b"e"
    text = value.encode()
    return b"%d:%s" % (len(text), text)


def bdecode(data, at=0):
    kind = data[at : at + 1]
    if kind == b"i":
        end = data.index(b"e", at)
        return int(data[at + 1 : end]), end + 1
    if kind in (b"l", b"d"):
        items, at = [], at + 1
        while data[at : at + 1] != b"e":
            item, at = bdecode(data, at)
            items.append(item)
        return (items if kind == b"l" else dict(zip(items[::2], items[1::2]))), at + 1
    colon = data.index(b":", at)
    end = colon + 1 + int(data[at:colon])
    return data[colon + 1 : end].decode(), end


if __name__ == "__main__":
    main()
