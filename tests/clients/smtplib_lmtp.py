"""Delivers by smtplib.LMTP and reads the Maildirs back by mailbox.Maildir.

Arguments: HOST:PORT or a socket's path, the store's root.
"""

import mailbox
import pathlib
import smtplib
import sys

server, root = sys.argv[1], pathlib.Path(sys.argv[2])

# Dots at line starts, every octet but CR and LF, long lines, empty and missing bodies, a large one.
MESSAGES = [
    b"Subject: plain\r\n\r\nHello\r\n",
    b"Subject: dots\r\n\r\n.\r\n..\r\n.a\r\n...\r\n.\r\nend\r\n",
    b"Subject: octets\r\n\r\n" + bytes(b for b in range(256) if b not in b"\r\n") + b"\r\n",
    b"Subject: long\r\n\r\n" + b"x" * 5000 + b"\r\n" + b"y" * 998 + b"\r\n",
    b"Subject: blank lines\r\n\r\n\r\n\r\n",
    b"Subject: header alone\r\n",
    b"Subject: large\r\n\r\n" + b"0123456789abcdef\r\n" * 30000,
]
RECIPIENTS = ["alice@example.org", "bob@example.org"]


def connect():
    if server.startswith("/"):
        return smtplib.LMTP(server)
    host, port = server.rsplit(":", 1)
    return smtplib.LMTP(host, int(port), timeout=30)


def deliver(client, message):
    """One transaction. smtplib's own sendmail reads one reply behind the data, as in SMTP."""
    code, text = client.mail("sender@example.net", ["BODY=8BITMIME"])
    assert code == 250, (code, text)
    for recipient in RECIPIENTS:
        code, text = client.rcpt(recipient)
        assert code == 250, (code, text)
    replies = [client.data(message)] + [client.getreply() for _ in RECIPIENTS[1:]]
    for code, text in replies:
        assert code == 250 and text.startswith(b"2.0.0 "), replies
    ids = [text.split()[1].decode() for _, text in replies]
    return dict(zip(RECIPIENTS, ids))


with connect() as client:
    # One session for all: each transaction must leave it clean.
    client.ehlo_or_helo_if_needed()
    IDS = [deliver(client, message) for message in MESSAGES]

for recipient in RECIPIENTS:
    maildir = mailbox.Maildir(root / recipient, create=False)
    stored = {}
    for key in maildir.keys():
        raw = maildir.get_bytes(key)
        added, kept = [], raw
        # Our own fields come first: Return-Path, Delivered-To, Received.
        for name in (b"Return-Path: ", b"Delivered-To: ", b"Received: "):
            assert kept.startswith(name), (name, kept[:200])
            field = bytearray()
            while True:
                line, _, kept = kept.partition(b"\n")
                field += line + b"\n"
                if not kept.startswith((b" ", b"\t")):
                    break
            added.append(bytes(field))
        assert added[0] == b"Return-Path: <sender@example.net>\n", added
        assert added[1] == b"Delivered-To: " + recipient.encode() + b"\n", added
        assert b" with LMTP " in added[2].replace(b"\n\t", b" "), added
        # Two recipients: neither may learn of the other from FOR.
        assert b" for " not in added[2].replace(b"\n\t", b" "), added
        assert b"\r" not in raw, "line ends of a Maildir are LF alone"
        stored[kept.partition(b"\n")[0]] = kept
        parsed = maildir.get_message(key)
        assert parsed["Return-Path"] == "<sender@example.net>", parsed["Return-Path"]
    assert len(maildir) == len(MESSAGES), (recipient, len(maildir))
    # The id in the reply begins the file's name.
    for ids in IDS:
        named = [key for key in maildir.keys() if key.startswith(ids[recipient])]
        assert len(named) == 1, (ids, list(maildir.keys()))
    for message in MESSAGES:
        expected = message.replace(b"\r\n", b"\n")
        found = stored[expected.partition(b"\n")[0]]
        assert found == expected, (recipient, expected[:80], found[:80], len(expected), len(found))
print("verified", len(MESSAGES) * len(RECIPIENTS))
