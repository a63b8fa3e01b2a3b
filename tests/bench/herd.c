/*
 * Starts many programs at the same moment, and says when the app at the end of each ran. Two programs in one static file:
 *
 *   herd app NUMBER                            the app: writes its number and the time to stdout, and ends
 *   herd start COUNT SECONDS FOLDER PROGRAM…   the parent: starts PROGRAM… herd app NUMBER, COUNT times
 *
 * Each has its own secrets directory, FOLDER/NUMBER. All are forked first and wait; the parent says "go" and lets them go
 * at once. For each it then prints `microseconds status`, in the order of the numbers; microseconds are -1 where no app
 * ran within SECONDS.
 */

#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

struct arrival { int64_t number, at; };

static int64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000LL + time.tv_nsec / 1000;
}

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static void child(int number, int gate, int out, const char *folder, const char *self, char **program, int words) {
    char directory[256], text[16], byte;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    snprintf(directory, sizeof directory, "%s/%d", folder, number);
    snprintf(text, sizeof text, "%d", number);
    setenv("CHANDLERY_SECRETS_DIR", directory, 1);
    char **arguments = calloc(words + 4, sizeof *arguments);
    memcpy(arguments, program, words * sizeof *arguments);
    arguments[words] = (char *)self, arguments[words + 1] = "app", arguments[words + 2] = text;
    dup2(out, 1);
    /* The end of the pipe is the sign: it comes to all at once. */
    if (read(gate, &byte, 1) != 0) _exit(125);
    execv(arguments[0], arguments);
    perror(arguments[0]);
    _exit(127);
}

static void start(int count, int seconds, const char *folder, const char *self, char **program, int words) {
    int gate[2], arrivals[2], statuses[count];
    int64_t took[count];
    pid_t pids[count];
    if (pipe2(gate, O_CLOEXEC) || pipe2(arrivals, O_CLOEXEC)) fail("pipe2");
    for (int n = 0; n < count; n++) {
        took[n] = -1;
        if ((pids[n] = fork()) < 0) fail("fork");
        if (pids[n] == 0) {
            close(gate[1]);
            child(n, gate[0], arrivals[1], folder, self, program, words);
        }
    }
    close(arrivals[1]);
    usleep(200000);
    printf("go\n");
    fflush(stdout);
    int64_t begun = now(), end = begun + seconds * 1000000LL;
    close(gate[1]);
    struct pollfd ready = {.fd = arrivals[0], .events = POLLIN};
    struct arrival arrival;
    /* When the last process has ended the pipe has, too. */
    while (now() < end && poll(&ready, 1, (end - now()) / 1000 + 1) == 1) {
        if (read(arrivals[0], &arrival, sizeof arrival) != sizeof arrival) break;
        took[arrival.number] = arrival.at - begun;
    }
    for (int n = 0; n < count; n++) {
        if (took[n] < 0 && now() >= end) kill(pids[n], SIGKILL);
        if (waitpid(pids[n], &statuses[n], 0) < 0) fail("waitpid");
        int code = WIFEXITED(statuses[n]) ? WEXITSTATUS(statuses[n]) : 128 + WTERMSIG(statuses[n]);
        printf("%lld %d\n", (long long)took[n], code);
    }
}

int main(int count, char **arguments) {
    if (count == 3 && !strcmp(arguments[1], "app")) {
        struct arrival arrival = {atoi(arguments[2]), now()};
        return write(1, &arrival, sizeof arrival) != sizeof arrival;
    }
    if (count < 6 || strcmp(arguments[1], "start")) return 2;
    start(atoi(arguments[2]), atoi(arguments[3]), arguments[4], arguments[0], arguments + 5, count - 5);
}
