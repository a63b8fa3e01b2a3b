/*
 * Starts programs and says how long it took until the app at their end ran. Two programs in one small static file:
 *
 *   start         the app: writes the time of its first line to stdout, and ends
 *   start serve   the parent: reads what to start from stdin, starts it, and says what it saw on stdout
 *
 * A request is four native uint32 (whether to look at the memory, the number of arguments, the number of variables, the
 * bytes that follow) and then the arguments and variables, each with its NUL. An answer is one line:
 *
 *   nanoseconds status maxrss-KiB rss-KiB anonymous-KiB
 *
 * The clock starts in the child, right before its execve. Memory is looked at in runs of their own, which are slow: the
 * process is stopped at every system call until it execs the app, and the largest Rss of /proc/PID/smaps_rollup is kept.
 * That figure is exact: pages only leave a process through a system call, so between two of them the last moment is the
 * largest. (ru_maxrss is kept from per-CPU counters that may be dozens of pages behind; it is there for comparison.)
 */

#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { TIMEOUT_MS = 10000, STATUS_TIMEOUT = -1 };

struct memory { long rss, anonymous; };

static struct timespec *exec_at;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static void take(void *buffer, size_t bytes) {
    for (char *at = buffer; bytes > 0;) {
        ssize_t got = read(0, at, bytes);
        if (got <= 0) exit(0);
        at += got, bytes -= got;
    }
}

static void child(char **arguments, char **variables, int out, int traced) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    int null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    dup2(null, 0);
    dup2(out, 1);
    if (traced) {
        ptrace(PTRACE_TRACEME, 0, 0, 0);
        raise(SIGSTOP);
    }
    clock_gettime(CLOCK_MONOTONIC, exec_at);
    execve(arguments[0], arguments, variables);
    perror(arguments[0]);
    _exit(127);
}

static void look(pid_t pid, struct memory *most) {
    char path[64], line[256];
    struct memory now = {-1, -1};
    snprintf(path, sizeof path, "/proc/%d/smaps_rollup", pid);
    FILE *file = fopen(path, "re");
    if (!file) return;
    while (fgets(line, sizeof line, file)) {
        sscanf(line, "Rss: %ld", &now.rss);
        sscanf(line, "Anonymous: %ld", &now.anonymous);
    }
    fclose(file);
    if (now.rss > most->rss) *most = now;
}

/* Follows the process to its second exec or its end. Returns whether it ended, and then its status. */
static int follow(pid_t pid, struct memory *most, int *status, struct rusage *usage) {
    int execs = 0;
    if (wait4(pid, status, 0, usage) < 0) fail("wait4");
    ptrace(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL);
    for (int passed = 0;;) {
        ptrace(PTRACE_SYSCALL, pid, 0, passed);
        if (wait4(pid, status, 0, usage) < 0) fail("wait4");
        if (!WIFSTOPPED(*status)) return 1;
        passed = 0;
        if (*status >> 8 == (SIGTRAP | PTRACE_EVENT_EXEC << 8)) {
            if (++execs == 2) {
                ptrace(PTRACE_DETACH, pid, 0, 0);
                return 0;
            }
        } else if (WSTOPSIG(*status) == (SIGTRAP | 0x80)) {
            if (execs == 1) look(pid, most);
        } else {
            passed = WSTOPSIG(*status);
        }
    }
}

static void start(char **arguments, char **variables, int traced) {
    int pipes[2];
    if (pipe2(pipes, O_CLOEXEC)) fail("pipe2");
    pid_t pid = fork();
    if (pid < 0) fail("fork");
    if (pid == 0) child(arguments, variables, pipes[1], traced);
    close(pipes[1]);
    struct memory most = {-1, -1};
    struct rusage usage;
    int status = 0;
    int ended = traced && follow(pid, &most, &status, &usage);
    struct timespec app_at = {0, 0};
    struct pollfd ready = {.fd = pipes[0], .events = POLLIN};
    int in_time = poll(&ready, 1, TIMEOUT_MS) == 1;
    ssize_t got = in_time ? read(pipes[0], &app_at, sizeof app_at) : 0;
    if (!in_time) kill(pid, SIGKILL);
    if (!ended && wait4(pid, &status, 0, &usage) < 0) fail("wait4");
    close(pipes[0]);
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    if (!in_time) code = STATUS_TIMEOUT;
    if (code == 0 && got != sizeof app_at) code = STATUS_TIMEOUT;
    long long took = (app_at.tv_sec - exec_at->tv_sec) * 1000000000LL + (app_at.tv_nsec - exec_at->tv_nsec);
    printf("%lld %d %ld %ld %ld\n", took, code, usage.ru_maxrss, most.rss, most.anonymous);
    fflush(stdout);
}

static void serve(void) {
    exec_at = mmap(NULL, sizeof *exec_at, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (exec_at == MAP_FAILED) fail("mmap");
    for (;;) {
        uint32_t head[4];
        take(head, sizeof head);
        uint32_t words = head[1] + head[2];
        char *text = malloc(head[3] + 1), **list = calloc(words + 2, sizeof *list);
        if (!text || !list) fail("malloc");
        take(text, head[3]);
        char *at = text;
        for (uint32_t n = 0; n < words; n++) {
            list[n < head[1] ? n : n + 1] = at;
            at += strlen(at) + 1;
        }
        start(list, list + head[1] + 1, head[0]);
        free(list);
        free(text);
    }
}

int main(int count, char **arguments) {
    if (count == 1) {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        return write(1, &now, sizeof now) != sizeof now;
    }
    (void)arguments;
    serve();
}
