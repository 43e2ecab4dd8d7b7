/* The protocol: one JSON message a line on standard input, one answer a line on standard output, until end of input. */
#include "../blas.h"
#include "gradbench.h"

#include <math.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static const gb_function *const modules[] = {gb_hello, gb_det, gb_llsq, gb_lse,    gb_ode,      gb_gmm,
                                             gb_ba,    gb_ht,  gb_lstm, gb_kmeans, gb_particle, gb_saddle};
enum { MODULES = sizeof modules / sizeof modules[0] };

/* How often and how long to evaluate, and what it took. */
typedef struct timing {
    int64_t min_runs;
    double min_seconds;
    int64_t prepare, *evaluate; /* nanoseconds */
    int64_t runs, capacity;
} timing;

static int64_t nanoseconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* ---- finding a function ---- */

static const gb_function *module_named(const char *name) {
    for (int i = 0; i < MODULES; i++)
        if (strcmp(modules[i]->module, name) == 0) return modules[i];
    return NULL;
}

static const char *text_of(gb_run *run, const json_t *message, const char *name) {
    const char *text = json_string_value(json_object_get(message, name));
    if (!text) gb_fail(run, "the message has no string \"%s\"", name);
    return text;
}

static const gb_function *find_module(gb_run *run, const json_t *message) {
    const char *name = text_of(run, message, "module");
    const gb_function *module = name ? module_named(name) : NULL;
    if (name && !module) gb_fail(run, "no module \"%s\"", name);
    return module;
}

static const gb_function *find_function(gb_run *run, const json_t *message) {
    const gb_function *f = find_module(run, message);
    const char *name = f ? text_of(run, message, "function") : NULL;
    if (!name) return NULL;
    for (; f->module; f++)
        if (strcmp(f->name, name) == 0) return f;
    gb_fail(run, "module \"%s\" has no function \"%s\"", json_string_value(json_object_get(message, "module")), name);
    return NULL;
}

/* ---- evaluating ---- */

static bool read_runs(gb_run *run, const json_t *input, timing *t) {
    t->min_runs = 1;
    if (!json_is_object(input)) return true;
    if (json_object_get(input, "min_runs")) t->min_runs = gb_integer(run, input, "min_runs", 1, 1 << 30);
    if (json_object_get(input, "min_seconds")) t->min_seconds = gb_number(run, input, "min_seconds");
    return !run->error[0];
}

static bool add_time(gb_run *run, timing *t, int64_t time) {
    if (t->runs == t->capacity) {
        int64_t capacity = t->capacity ? 2 * t->capacity : 64;
        int64_t *more = realloc(t->evaluate, (size_t)capacity * sizeof *more);
        if (!more) return gb_fail(run, "out of memory: %lld timings", (long long)capacity);
        t->evaluate = more;
        t->capacity = capacity;
    }
    t->evaluate[t->runs++] = time;
    return true;
}

/* At least min_runs times, and until min_seconds have been spent in evaluate. */
static bool repeat(gb_run *run, const gb_function *f, timing *t) {
    double seconds = 0;
    while (t->runs < t->min_runs || seconds < t->min_seconds) {
        int64_t start = nanoseconds();
        ag_tape_clear(run->tape);
        f->evaluate(run);
        int64_t time = nanoseconds() - start;
        if (ag_tape_status(run->tape) != AG_OK) return gb_fail(run, "%s", ag_tape_message(run->tape));
        if (!add_time(run, t, time)) return false;
        seconds += (double)time * 1e-9;
    }
    return true;
}

static json_t *evaluate(gb_run *run, const json_t *message, timing *t) {
    const gb_function *f = find_function(run, message);
    const json_t *input = f ? json_object_get(message, "input") : NULL;
    if (!f) return NULL;
    if (!input) return gb_fail(run, "the message has no \"input\""), NULL;
    run->state = gb_array(run, 1, f->state_size);
    ag_tape_clear(run->tape);
    if (!run->state || !read_runs(run, input, t) || !f->parse(run, input) || run->error[0]) return NULL;
    int64_t start = nanoseconds();
    if (f->prepare && !f->prepare(run)) return NULL;
    t->prepare = nanoseconds() - start;
    if (!repeat(run, f, t)) return NULL;
    json_t *output = f->print(run);
    if (!output) gb_fail(run, "the result has a number that is not finite");
    return output;
}

/* ---- answering ---- */

/* `, "name": value` */
static void put(const char *name, const json_t *value) {
    printf(", \"%s\": ", name);
    json_dumpf(value, stdout, JSON_ENCODE_ANY | JSON_COMPACT);
}

static void put_text(const char *name, const char *text) {
    json_t *value = NULL;
    for (size_t n = strlen(text) + 1; !value && n-- > 0;) value = json_stringn(text, n); /* UTF-8 may have been cut */
    put(name, value);
    json_decref(value);
}

static void put_timings(const timing *t) {
    printf(", \"timings\": [{\"name\": \"prepare\", \"nanoseconds\": %lld}", (long long)t->prepare);
    for (int64_t i = 0; i < t->runs; i++)
        printf(", {\"name\": \"evaluate\", \"nanoseconds\": %lld}", (long long)t->evaluate[i]);
    printf("]");
}

static void answer(gb_run *run, const json_t *message) {
    const char *kind = json_string_value(json_object_get(message, "kind"));
    const json_t *id = json_object_get(message, "id");
    json_t *output = NULL;
    timing t = {0};
    if (!json_is_object(message)) gb_fail(run, "a message is a JSON object");
    else if (!kind) gb_fail(run, "the message has no string \"kind\"");
    else if (strcmp(kind, "define") == 0) find_module(run, message);
    else if (strcmp(kind, "evaluate") == 0) output = evaluate(run, message, &t);

    printf("{\"id\": ");
    if (!id || json_dumpf(id, stdout, JSON_ENCODE_ANY | JSON_COMPACT) != 0) printf("null");
    if (kind && strcmp(kind, "start") == 0) put_text("tool", "autograd");
    if (run->error[0]) {
        printf(", \"success\": false");
        put_text("error", run->error);
    } else if (output) {
        printf(", \"success\": true");
        put("output", output);
        put_timings(&t);
    } else if (kind && strcmp(kind, "define") == 0) {
        printf(", \"success\": true");
    }
    printf("}\n");
    json_decref(output);
    free(t.evaluate);
}

/* A line that is not JSON: its id, if it can be made out, and what is wrong. */
static json_t *broken_message(gb_run *run, const char *line, const json_error_t *error) {
    gb_fail(run, "the message is not JSON: %s (column %d)", error->text, error->column);
    const char *id = strstr(line, "\"id\":");
    return json_pack("{sI}", "id", (json_int_t)(id ? strtoll(id + 5, NULL, 10) : -1));
}

static void answer_line(ag_tape *tape, const char *line, size_t length) {
    gb_run run = {.tape = tape};
    json_error_t error;
    json_t *message = json_loadb(line, length, JSON_ALLOW_NUL | JSON_DECODE_ANY, &error);
    if (!message) message = broken_message(&run, line, &error);
    answer(&run, message);
    json_decref(message);
    gb_free(&run);
}

/* Three quarters of the machine's memory: what needs more gets an error, and the machine does not swap. Sanitizers take
 * more address space than that. */
static void limit_memory(void) {
#ifndef GB_SANITIZED
    long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);
    struct rlimit limit;
    if (pages <= 0 || page <= 0 || getrlimit(RLIMIT_DATA, &limit) != 0) return;
    rlim_t most = (rlim_t)pages / 4 * 3 * (rlim_t)page;
    if (limit.rlim_cur > most) limit.rlim_cur = most;
    setrlimit(RLIMIT_DATA, &limit);
#endif
}

int main(int argc, char **argv) {
    (void)argc;
    bench_one_thread(argv);
    limit_memory();
    ag_tape *tape = ag_tape_new(AG_F64);
    char *line = NULL;
    size_t size = 0;
    ssize_t length;
    while ((length = getline(&line, &size, stdin)) >= 0) {
        if (length == 1 && line[0] == '\n') continue;
        answer_line(tape, line, (size_t)length);
        if (fflush(stdout) != 0) break;
    }
    free(line);
    ag_tape_free(tape);
    return ferror(stdin) || ferror(stdout);
}
