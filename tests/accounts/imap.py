# An IMAP session of one user with a running Dovecot, and mail that comes meanwhile.
import imaplib, re, select, smtplib, socket, sys, time

step, path, login, password, server, address = sys.argv[1:]


class Client(imaplib.IMAP4):
    def _create_socket(self, timeout):
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(30)
        connection.connect(path)
        return connection

    def exists(self):
        found = self.response('EXISTS')[1]
        return int(found[-1]) if found and found[-1] else None


def deliver(recipient, subject):
    host, port = server.rsplit(':', 1)
    with smtplib.LMTP(host, int(port)) as lmtp:
        text = f'Subject: {subject}\r\n\r\ntext of {subject}\r\n'
        assert lmtp.sendmail('', [recipient], text) == {}


def opened():
    client = Client()
    client.login(login, password)
    return client


def is_shown_by_noop(client, recipient, subject, number):
    deliver(recipient, subject)
    client.noop()
    found = client.exists()
    assert found == number, f'{subject}: {found} by the first NOOP and not {number}'
    is_there(client, subject, number)


def is_shown_by_idle(client, recipient, subject, number):
    tag = client._new_tag()
    client.send(tag + b' IDLE\r\n')
    assert client.readline().startswith(b'+ ')
    deliver(recipient, subject)
    began = time.monotonic()
    line = b''
    while not re.match(rb'\* \d+ EXISTS', line):
        # It waits for half a second for more before it says so.
        assert time.monotonic() - began < 10, f'{subject}: nothing within 10 s'
        line = client.readline()
    assert line == b'* %d EXISTS\r\n' % number, line
    print(f'{login}: {subject}: {time.monotonic() - began:.3f} s')
    client.send(b'DONE\r\n')
    while not client.readline().startswith(tag + b' OK'):
        pass
    is_there(client, subject, number)


def is_there(client, subject, number):
    text = client.fetch(str(number), '(BODY.PEEK[])')[1][0][1]
    assert f'\r\nSubject: {subject}\r\n\r\ntext of {subject}\r\n'.encode() in text, text


def selected(client, folder):
    state, found = client.select(folder)
    assert state == 'OK', (folder, found)
    return int(found[0])


def before():
    """Makes the Maildir, with mail in it."""
    client = opened()
    assert client.create('Archive')[0] == 'OK'
    for folder in ['INBOX', 'Archive']:
        assert client.append(folder, r'(\Seen)', None, b'Subject: old\r\n\r\nold\r\n')[0] == 'OK'
    client.logout()


def after():
    client = opened()
    assert selected(client, 'INBOX') == 1
    for number in [2, 3, 4]:
        is_shown_by_noop(client, address, f'noop {number}', number)
    is_shown_by_idle(client, address, 'idle 5', 5)
    is_shown_by_idle(client, address, 'idle 6', 6)

    user, domain = address.split('@')
    # A folder that Dovecot has made, and one that it has not.
    for folder, detail, count in [('Archive', 'Archive', 1), ('lists.2026', 'lists/2026', 0)]:
        recipient = f'{user}+{detail}@{domain}'
        deliver(recipient, f'{folder} first')
        count += 1
        # For this session it has looked just now.
        listed = [line.decode().split('"." ')[1] for line in opened().list()[1]]
        assert folder in listed, listed
        assert selected(client, folder) == count
        is_there(client, f'{folder} first', count)
        is_shown_by_noop(client, recipient, f'{folder} noop', count + 1)
        is_shown_by_idle(client, recipient, f'{folder} idle', count + 2)
    assert selected(client, 'INBOX') == 6
    assert client.search(None, 'SEEN')[1] == [b'1'], 'the old one alone is read'
    client.logout()


before() if step == 'before' else after()
