/* Graphviz's dot, run as a process of its own: without a shell, with a time limit, and with its answer limited. */
#include "nn/check/html/html_impl.h"
#include "nn/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

enum { MOST_BYTES = 4 << 20, FIRST_BYTES = 1 << 16, LONGEST_PATH = 4096 };

/* The first "dot" in a folder of PATH that is named in full: never one that happens to lie where we are. */
static bool find_dot(char *program) {
    const char *path = getenv("PATH");
    if (path == NULL) path = "/usr/local/bin:/usr/bin:/bin";
    while (*path != '\0') {
        size_t length = strcspn(path, ":");
        int written = snprintf(program, LONGEST_PATH, "%.*s/dot", (int)length, path);
        if (*path == '/' && written < LONGEST_PATH && access(program, X_OK) == 0) return true;
        path += length + (path[length] == ':');
    }
    return false;
}

/* In a group of its own, so that whatever it starts can be ended with it; 0 if it could not be started. */
static pid_t start(const char *program, int in, int out) {
    posix_spawn_file_actions_t files;
    posix_spawnattr_t attributes;
    sigset_t none, usual;
    char name[] = "dot", format[] = "-Tsvg", *const arguments[] = {name, format, NULL};
    pid_t child = 0;
    if (posix_spawn_file_actions_init(&files) != 0) return 0;
    if (posix_spawnattr_init(&attributes) != 0) {
        posix_spawn_file_actions_destroy(&files);
        return 0;
    }
    sigemptyset(&none);
    sigemptyset(&usual);
    sigaddset(&usual, SIGPIPE);
    bool fine = posix_spawn_file_actions_adddup2(&files, in, STDIN_FILENO) == 0 &&
                posix_spawn_file_actions_adddup2(&files, out, STDOUT_FILENO) == 0 &&
                posix_spawn_file_actions_addopen(&files, STDERR_FILENO, "/dev/null", O_WRONLY, 0) == 0 &&
                posix_spawnattr_setpgroup(&attributes, 0) == 0 && posix_spawnattr_setsigmask(&attributes, &none) == 0 &&
                posix_spawnattr_setsigdefault(&attributes, &usual) == 0 &&
                posix_spawnattr_setflags(&attributes,
                                         POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF) == 0 &&
                posix_spawn(&child, program, &files, &attributes, arguments, environ) == 0;
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&files);
    return fine ? child : 0;
}

/* Reads up to the end; why not, or NULL. */
static const char *read_answer(int from, double deadline, char **text, size_t *size) {
    size_t capacity = 0;
    for (;;) {
        if (*size == capacity) {
            size_t more = capacity > 0 ? 2 * capacity : FIRST_BYTES;
            char *larger = more > MOST_BYTES ? NULL : nn_allocate(more, 1);
            if (larger == NULL) return more > MOST_BYTES ? "its drawing is too large" : "there is no memory for it";
            if (*size > 0) memcpy(larger, *text, *size);
            nn_release(*text);
            *text = larger;
            capacity = more;
        }
        double left = deadline - ac_clock();
        struct pollfd ready = {.fd = from, .events = POLLIN};
        int count = left > 0 ? poll(&ready, 1, (int)(left * 1000) + 1) : 0;
        if (count < 0 && errno == EINTR) continue;
        if (count <= 0) return "Graphviz takes too long";
        ssize_t got = read(from, *text + *size, capacity - *size);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) return "Graphviz cannot be read from";
        if (got == 0) return NULL;
        *size += (size_t)got;
    }
}

/* Waits for its end, and brings it about when time is up. */
static bool finish(pid_t child, double deadline, bool kill_now) {
    const struct timespec moment = {0, 1000000};
    int status = 0;
    pid_t ended = 0;
    while (!kill_now && (ended = waitpid(child, &status, WNOHANG)) == 0 && ac_clock() < deadline)
        nanosleep(&moment, NULL);
    if (ended == 0) {
        kill(-child, SIGKILL);
        kill(child, SIGKILL);
        while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
        }
        return false;
    }
    return ended < 0 || (WIFEXITED(status) && WEXITSTATUS(status) == 0); /* < 0: somebody else waited for it */
}

const char *ac_graphviz_run(FILE *graph, double seconds, char **svg, size_t *size, ac_graphviz *graphviz) {
    char program[LONGEST_PATH];
    int ends[2];
    *svg = NULL;
    *size = 0;
    if (!find_dot(program)) {
        *graphviz = AC_GRAPHVIZ_ABSENT;
        return "Graphviz is not installed";
    }
    if (fflush(graph) != 0 || lseek(fileno(graph), 0, SEEK_SET) != 0 || pipe2(ends, O_CLOEXEC) != 0)
        return "Graphviz cannot be started";
    double deadline = ac_clock() + seconds;
    pid_t child = start(program, fileno(graph), ends[1]);
    close(ends[1]);
    const char *why = child == 0 ? "Graphviz cannot be started" : read_answer(ends[0], deadline, svg, size);
    close(ends[0]);
    if (child != 0 && !finish(child, deadline, why != NULL) && why == NULL) why = "Graphviz failed";
    if (ac_clock() >= deadline) *graphviz = AC_GRAPHVIZ_SLOW;
    if (why == NULL) return NULL;
    nn_release(*svg);
    *svg = NULL;
    return why;
}
