/* A program as machine code: printed, compiled by the system's C compiler into a cache, loaded.
 *
 * The compiler is started without a shell, in a private folder of the cache, and what it makes is moved to its place at
 * once, so that nobody finds half a file. The name of that place is a hash of the source, the flags, the compiler's
 * version and the processor's features. A cache that others can write to is not used. */
#include "compile_impl.h"
#include "quick_impl.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/wait.h>
#include <unistd.h>

enum { MOST_ARGUMENTS = 64, PATH_ROOM = 4096, LARGE_SOURCE = 1 << 21, MOST_SMALL = 16 };
#define FUNCTION "ag_compiled_program"
#define QUICK "ag_compiled_quick"
#define ENTRY "ag_compiled_entry"
#define LANES_ENTRY "ag_compiled_lanes"

static ag_compiled nil_compiled = {.status = AG_ERR_MEMORY, .message = "compile: out of memory"};

static void fail(ag_compiled *c, ag_status status, const char *format, ...) AG_FORMAT_(3, 4);
static void fail(ag_compiled *c, ag_status status, const char *format, ...) {
    if (c->status != AG_OK) return;
    c->status = status;
    va_list args;
    va_start(args, format);
    vsnprintf(c->message, sizeof c->message, format, args);
    va_end(args);
}

/* ---- the command ---- */

typedef struct ag_command {
    char words[1024];                  /* of CC */
    const char *start[MOST_ARGUMENTS]; /* the compiler, its flags */
    int count;
    const char *const *flags;
} ag_command;

/* Contraction: the machine fuses products and sums, too. No vectors of scalars side by side: a call that reads what the last
 * one wrote, number by number, as a vector waits for the store; where nothing waits they gain little. */
static const char *const default_flags[] = {"-O3",
                                            "-march=native",
                                            "-fno-math-errno",
                                            "-fno-trapping-math",
                                            "-ffp-contract=fast",
                                            "-fno-tree-slp-vectorize",
                                            "-fno-semantic-interposition",
                                            NULL};
static const char *const large_flags[] = {"-O1", "-march=native", "-fno-math-errno", "-ffp-contract=fast", NULL};

/* CC may have words behind the compiler's name: "ccache gcc". */
static void split_compiler(ag_command *c) {
    const char *cc = getenv("CC");
    snprintf(c->words, sizeof c->words, "%s", cc && *cc ? cc : "cc");
    for (char *at = c->words; *at && c->count < 8;) {
        while (*at == ' ') *at++ = '\0';
        if (!*at) break;
        c->start[c->count++] = at;
        while (*at && *at != ' ') at++;
    }
    if (c->count == 0) c->start[c->count++] = "cc";
}

static bool make_command(ag_compiled *compiled, ag_command *c, const ag_compile_options *o, size_t source_size) {
    if (o && o->compiler) c->start[c->count++] = o->compiler;
    else split_compiler(c);
    const char *const *flags = o && o->flags ? o->flags : source_size > LARGE_SOURCE ? large_flags : default_flags;
    c->flags = flags;
    for (; *flags; flags++) {
        if (c->count == MOST_ARGUMENTS - 10) {
            fail(compiled, AG_ERR_VALUE, "compile: more than %d flags", MOST_ARGUMENTS - 20);
            return false;
        }
        c->start[c->count++] = *flags;
    }
    return true;
}

extern char **environ;

/* Runs a command with its output in a file. Its exit status; -1 and errno if it could not be started. */
static int run_command(const char *const *argv, const char *output) {
    posix_spawn_file_actions_t actions;
    if (posix_spawn_file_actions_init(&actions) != 0) return -1;
    pid_t child = 0;
    int error = posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    if (!error) error = posix_spawn_file_actions_addopen(&actions, 1, output, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (!error) error = posix_spawn_file_actions_adddup2(&actions, 1, 2);
    if (!error) error = posix_spawnp(&child, argv[0], &actions, NULL, (char *const *)(uintptr_t)argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (error) {
        errno = error;
        return -1;
    }
    int status = 0;
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR) return 0; /* who ignores its children is not told: the result shows how it went */
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

/* The beginning of a file, without line ends at the end. */
static size_t read_start(const char *path, char *to, size_t room) {
    int file = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = file >= 0 ? read(file, to, room - 1) : 0;
    if (file >= 0) close(file);
    if (n < 0) n = 0;
    while (n > 0 && to[n - 1] == '\n') n--;
    to[n] = '\0';
    return (size_t)n;
}

/* ---- the hash: 128 bits, two of FNV-1a ---- */

typedef struct ag_hash {
    uint64_t a, b;
} ag_hash;

static void hash_bytes(ag_hash *h, const char *bytes, size_t n) {
    for (size_t i = 0; i < n; i++) {
        h->a = (h->a ^ (uint8_t)bytes[i]) * 0x100000001B3u;
        h->b = (h->b ^ (uint8_t)bytes[i]) * 0x9E3779B97F4A7C15u;
        h->b ^= h->b >> 29;
    }
}

static void hash_text(ag_hash *h, const char *text) { hash_bytes(h, text, strlen(text) + 1); }

/* What -march=native depends on. */
static void hash_processor(ag_hash *h) {
    char text[8192], *at = text;
    read_start("/proc/cpuinfo", text, sizeof text);
    while (at && *at) {
        char *end = strchr(at, '\n');
        if (strncmp(at, "flags", 5) == 0 || strncmp(at, "Features", 8) == 0 || strncmp(at, "model", 5) == 0)
            hash_bytes(h, at, end ? (size_t)(end - at) : strlen(at));
        at = end ? end + 1 : NULL;
        if (at && *at == '\n') break; /* the first processor */
    }
}

/* ---- files ---- */

static bool is_ours(const struct stat *s) { return s->st_uid == geteuid() && (s->st_mode & 022) == 0; }

static bool make_folders(char *path) {
    for (char *at = path + 1; *at; at++) {
        if (*at != '/') continue;
        *at = '\0';
        int made = mkdir(path, 0700);
        *at = '/';
        if (made != 0 && errno != EEXIST && errno != EISDIR && errno != EACCES && errno != EROFS) return false;
    }
    return mkdir(path, 0700) == 0 || errno == EEXIST;
}

/* The cache, made if it is not there. */
static bool find_cache(ag_compiled *c, const ag_compile_options *o, char path[PATH_ROOM]) {
    const char *base = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    int n;
    if (o && o->cache) n = snprintf(path, PATH_ROOM, "%s%s", *o->cache == '-' ? "./" : "", o->cache);
    else if (base && *base == '/') n = snprintf(path, PATH_ROOM, "%s/autograd", base);
    else n = home && *home == '/' ? snprintf(path, PATH_ROOM, "%s/.cache/autograd", home) : 0;
    if (n <= 0 || n > PATH_ROOM - 128) {
        fail(c, AG_ERR_VALUE, "compile: no folder for a cache: neither XDG_CACHE_HOME nor HOME is an absolute path");
        return false;
    }
    struct stat s;
    if (!make_folders(path) || stat(path, &s) != 0 || !S_ISDIR(s.st_mode)) {
        fail(c, AG_ERR_FILE, "compile: the cache %.400s cannot be made: %s", path, strerror(errno));
        return false;
    }
    if (is_ours(&s)) return true;
    fail(c, AG_ERR_VALUE, "compile: the cache %.400s is another user's, or others may write to it", path);
    return false;
}

static bool write_file(const char *path, const ag_text *text) {
    int file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (file < 0) return false;
    size_t done = 0;
    while (done < text->count) {
        ssize_t n = write(file, text->base + done, text->count - done);
        if (n < 0 && errno != EINTR) break;
        if (n > 0) done += (size_t)n;
    }
    return close(file) == 0 && done == text->count;
}

/* A private folder in the cache, for one compilation. */
typedef struct ag_private {
    char folder[PATH_ROOM], source[PATH_ROOM], object[PATH_ROOM], output[PATH_ROOM];
} ag_private;

static bool open_private(ag_compiled *c, ag_private *w, const char *cache) {
    int n = snprintf(w->folder, PATH_ROOM, "%s/tmp-XXXXXX", cache);
    if (n < 0 || n > PATH_ROOM - 16 || !mkdtemp(w->folder)) {
        fail(c, AG_ERR_FILE, "compile: the cache %.400s cannot be written to: %s", cache, strerror(errno));
        return false;
    }
    snprintf(w->source, PATH_ROOM, "%.*s/p.c", n, w->folder);
    snprintf(w->object, PATH_ROOM, "%.*s/p.so", n, w->folder);
    snprintf(w->output, PATH_ROOM, "%.*s/output", n, w->folder);
    return true;
}

static void close_private(const ag_private *w) {
    unlink(w->source);
    unlink(w->object);
    unlink(w->output);
    rmdir(w->folder);
}

/* ---- compiling and loading ---- */

static bool load(ag_compiled *c, const char *path) {
    struct stat s;
    if (stat(path, &s) != 0 || !S_ISREG(s.st_mode) || !is_ours(&s)) return false;
    c->library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    void *symbol = c->library ? dlsym(c->library, ENTRY) : NULL;
    memcpy(&c->entry, &symbol, sizeof symbol);
    symbol = c->library ? dlsym(c->library, LANES_ENTRY) : NULL;
    memcpy(&c->lanes, &symbol, sizeof symbol);
    return c->entry && (c->lanes || !c->lanes_out);
}

/* The compiler's version into the hash: its answer to --version. */
static bool hash_compiler(ag_compiled *c, const ag_command *command, const ag_private *w, ag_hash *h) {
    const char *argv[MOST_ARGUMENTS];
    int n = 0;
    char text[4096];
    for (int k = 0; k < command->count && command->start[k] != command->flags[0]; k++) argv[n++] = command->start[k];
    argv[n++] = "--version";
    argv[n] = NULL;
    if (run_command(argv, w->output) < 0) {
        fail(c, AG_ERR_UNSUPPORTED, "compile: no C compiler: %.200s: %s", command->start[0], strerror(errno));
        return false;
    }
    read_start(w->output, text, sizeof text);
    hash_text(h, text);
    return true;
}

/* Whether there is no room for what a compiler makes. */
static bool is_full(const char *folder) {
    struct statvfs s;
    return statvfs(folder, &s) == 0 && (uint64_t)s.f_bavail * s.f_frsize < 1 << 16;
}

static void compile(ag_compiled *c, const ag_command *command, const ag_private *w, const ag_text *source,
                    const char *target) {
    const char *argv[MOST_ARGUMENTS];
    memcpy(argv, command->start, sizeof command->start);
    int n = command->count;
    const char *const more[] = {"-std=c11", "-shared", "-fPIC", "-o", w->object, w->source, "-lm", NULL};
    memcpy(&argv[n], more, sizeof more);
    if (!write_file(w->source, source)) {
        fail(c, AG_ERR_FILE, "compile: %.400s cannot be written: %s", w->source, strerror(errno));
        return;
    }
    int status = run_command(argv, w->output);
    char text[400];
    bool placed = status == 0 && chmod(w->object, 0600) == 0 && rename(w->object, target) == 0;
    if (placed && load(c, target)) return;
    if (status == 0 && !placed)
        fail(c, AG_ERR_FILE, "compile: what %.100s made cannot be put into the cache: %s", argv[0], strerror(errno));
    else if (status > 0 && is_full(w->folder))
        fail(c, AG_ERR_FILE, "compile: %.100s failed (%d), and the disk of the cache %.200s is full", argv[0], status,
             w->folder);
    else if (status < 0) fail(c, AG_ERR_UNSUPPORTED, "compile: no C compiler: %.200s: %s", argv[0], strerror(errno));
    else if (status > 0) {
        read_start(w->output, text, sizeof text);
        fail(c, AG_ERR_UNSUPPORTED, "compile: %.100s failed (%d): %s", argv[0], status, text);
    } else {
        const char *why = dlerror();
        fail(c, AG_ERR_UNSUPPORTED, "compile: what %.100s made cannot be loaded: %.300s", argv[0],
             why ? why : strerror(errno));
    }
}

static void compile_or_load(ag_compiled *c, const ag_compile_options *o, const ag_text *source) {
    ag_command command = {.count = 0};
    char cache[PATH_ROOM], target[PATH_ROOM + 64];
    ag_private w;
    if (!make_command(c, &command, o, source->count) || !find_cache(c, o, cache) || !open_private(c, &w, cache)) return;
    ag_hash h = {0xCBF29CE484222325u, 0x243F6A8885A308D3u};
    if (hash_compiler(c, &command, &w, &h)) {
        for (int k = 0; k < command.count; k++) hash_text(&h, command.start[k]);
        hash_processor(&h);
        hash_bytes(&h, source->base, source->count);
        snprintf(target, sizeof target, "%s/%016llx%016llx.so", cache, (unsigned long long)h.a,
                 (unsigned long long)h.b);
        if (!load(c, target)) {
            if (c->library) dlclose(c->library);
            c->library = NULL;
            compile(c, &command, &w, source, target);
        }
    }
    close_private(&w);
}

/* ---- the source ---- */

static void add_call(const ag_program *p, const char *call, int64_t work, ag_text *t) {
    uint64_t nx = p->inputs.count, ny = p->outputs.count;
    ag_text_add(t, "    %s(", call);
    for (uint64_t k = 0; k < nx; k++)
        ag_text_add(t, "%sxs[%u]%s", k ? ", " : "", (unsigned)k,
                    ag_pinput_at(p, k)->ref.where & WHERE_ELEMENT ? "[0]" : "");
    for (uint64_t k = 0; k < ny; k++) ag_text_add(t, "%sys[%u]", nx || k ? ", " : "", (unsigned)k);
    if (work) ag_text_add(t, "%swork", nx || ny ? ", " : "");
    ag_text_add(t, ");\n");
}

static void add_entry(const ag_program *p, int64_t work, bool can_fail, bool quick, ag_text *t) {
    const char *number = ag_c_number_type(p->type);
    ag_text_line(t, "int " ENTRY "(const %s *const *xs, %s *const *ys, %s *work);", number, number, number);
    ag_text_line(t, "int " ENTRY "(const %s *const *xs, %s *const *ys, %s *work) {", number, number, number);
    ag_text_line(t, "(void)xs, (void)ys, (void)work;");
    for (uint64_t k = 0; k < p->inputs.count; k++)
        ag_text_line(t, "if (!xs[%u]) return %d;", (unsigned)k, AG_LACKS_INPUT);
    for (uint64_t k = 0; k < p->outputs.count; k++)
        ag_text_line(t, "if (!ys[%u]) return %d;", (unsigned)k, AG_LACKS_OUTPUT);
    if (quick) {
        add_call(p, QUICK, work, t);
        ag_add_nan_test(p, t);
    }
    add_call(p, can_fail ? "return " FUNCTION : FUNCTION, work, t);
    if (!can_fail) ag_text_line(t, "return 0;");
    ag_text_line(t, "}");
}

static void add_lanes_entry(const ag_program *p, ag_text *t) {
    const char *number = ag_c_number_type(p->type);
    ag_text_line(t, "void " LANES_ENTRY "(const %s *in, %s *out);", number, number);
    ag_text_line(t, "void " LANES_ENTRY "(const %s *in, %s *out) { " FUNCTION "_lanes(in, out); }", number, number);
}

static void print_and_compile(ag_compiled *c, const ag_compile_options *o) {
    ag_c_file file = {.memory = &c->memory, .wants_lanes = true, .enclosed = true};
    ag_text text = {.memory = &c->memory};
    bool ok = ag_c_print_file(&file, c->p, FUNCTION, &text), quick = ok && ag_chains_show(c->p, &c->memory);
    if (quick) ok = ag_add_quick(c->p, QUICK, &file, &text);
    if (ok) add_entry(c->p, file.work, ag_c_can_fail(&file, c->p), quick, &text);
    if (ok && file.lanes_out) add_lanes_entry(c->p, &text);
    c->lanes_in = file.lanes_in;
    c->lanes_out = file.lanes_out;
    c->block_size = (size_t)(file.lanes_in + file.lanes_out) * C_LANES * ag_type_size(c->p->type) + 64;
    if (!ok || text.failed)
        fail(c, ok ? AG_ERR_MEMORY : file.status, "compile: %s", ok ? "out of memory" : file.message);
    else compile_or_load(c, o, &text);
    c->work_size = (size_t)file.work * ag_type_size(c->p->type) + 64;
    ag_c_close_file(&file);
    ag_text_free(&text);
}

/* ---- lifecycle ---- */

static size_t output_count(const ag_program *p, uint64_t k) {
    return (size_t)ag_where_count(p, ag_poutput_at(p, k)->ref.where);
}

static void open_arrays(ag_compiled *c) {
    ag_memory *m = &c->memory;
    const ag_program *p = c->p;
    for (uint64_t k = 0; k < p->outputs.count; k++) c->spare_size += output_count(p, k) * ag_type_size(p->type);
    c->spare = ag_memory_zeroed(m, c->spare_size + 1);
    c->work = ag_memory_zeroed(m, c->work_size);
    c->xs = ag_memory_zeroed(m, p->inputs.count * sizeof *c->xs + 1);
    c->ys = ag_memory_zeroed(m, p->outputs.count * sizeof *c->ys + 1);
    c->block = ag_memory_zeroed(m, c->block_size);
    if (!c->block || !c->spare || !c->work || !c->xs || !c->ys) fail(c, AG_ERR_MEMORY, "compile: out of memory");
}

ag_compiled *ag_program_compile(const ag_program *p, const ag_compile_options *options) {
    ag_memory memory = {.no_reserve = true};
    if (p) memory = (ag_memory){p->memory.permit, p->memory.context, true, 0};
    ag_compiled *c = ag_memory_zeroed(&memory, sizeof *c);
    if (!c) return &nil_compiled;
    c->memory = memory;
    if (ag_program_status(p) != AG_OK) {
        fail(c, ag_program_status(p), "%s", ag_program_message(p));
        return c;
    }
    c->p = ag_program_small(p, MOST_SMALL);
    c->type = p->type;
    print_and_compile(c, options);
    if (c->status == AG_OK) open_arrays(c);
    if (c->status != AG_OK) c->runner = ag_runner_new(p);
    return c;
}

void ag_compiled_free(ag_compiled *c) {
    if (!c || c == &nil_compiled) return;
    ag_runner_free(c->runner);
    if (c->p) {
        ag_memory_free(&c->memory, c->spare, c->spare_size + 1);
        ag_memory_free(&c->memory, c->work, c->work_size);
        ag_memory_free(&c->memory, c->block, c->block_size);
        ag_memory_free(&c->memory, c->xs, c->p->inputs.count * sizeof *c->xs + 1);
        ag_memory_free(&c->memory, c->ys, c->p->outputs.count * sizeof *c->ys + 1);
    }
    if (c->library) dlclose(c->library);
    ag_program_free(c->p);
    ag_memory memory = c->memory;
    ag_memory_free(&memory, c, sizeof *c);
}

ag_status ag_compiled_status(const ag_compiled *c) { return c ? c->status : AG_ERR_VALUE; }
const char *ag_compiled_message(const ag_compiled *c) {
    if (!c) return "nothing compiled: it is NULL";
    return c->run_failed ? ag_runner_message(c->runner) : c->message;
}

/* ---- running ---- */

void *ag_compiled_spare(const ag_compiled *c, uint64_t output) {
    char *at = c->spare;
    for (uint64_t k = 0; k < output; k++) at += output_count(c->p, k) * ag_type_size(c->p->type);
    return at;
}

ag_status ag_compiled_run_machine(ag_compiled *c, ag_type type, const void *const *xs, void *const *ys) {
    if (!c->runner) c->runner = ag_runner_new(c->p);
    ag_status status = ag_runner_run(c->runner, type, xs, ys);
    c->run_failed = status != AG_OK;
    return status;
}

/* After a run that did not do all. */
static AG_APART_ ag_status run_again(ag_compiled *c, int failed, const void *const *xs, void *const *ys) {
    if (failed == AG_LACKS_OUTPUT) {
        for (uint64_t k = 0; k < c->p->outputs.count; k++) c->ys[k] = ys[k] ? ys[k] : ag_compiled_spare(c, k);
        failed = c->entry(xs, c->ys, c->work);
    }
    return failed ? ag_compiled_run_machine(c, c->type, xs, ys) : AG_OK;
}

static AG_APART_ ag_status run_otherwise(ag_compiled *c, ag_type type, const void *const *xs, void *const *ys) {
    return c && c->p ? ag_compiled_run_machine(c, type, xs, ys) : ag_compiled_status(c);
}

/* Small programs take no longer than this call does: what is rare is elsewhere. */
static inline ag_status run(ag_compiled *c, ag_type type, const void *const *xs, void *const *ys) {
    if (!c || c->status != AG_OK || type != c->type || !xs || !ys) return run_otherwise(c, type, xs, ys);
    c->run_failed = false;
    int failed = c->entry(xs, ys, c->work);
    return AG_LIKELY_(failed == 0) ? AG_OK : run_again(c, failed, xs, ys);
}

ag_status ag_compiled_run(ag_compiled *c, const double *const *xs, double *const *ys) {
    return run(c, AG_F64, (const void *const *)(const void *)xs, (void *const *)(const void *)ys);
}

ag_status ag_compiled_run_f32(ag_compiled *c, const float *const *xs, float *const *ys) {
    return run(c, AG_F32, (const void *const *)(const void *)xs, (void *const *)(const void *)ys);
}
