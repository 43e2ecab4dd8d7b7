/* adcheck FILE...: is this derivation right, and if not, what is wrong with it? */
#include "nn/check/report.h"
#include "nn/check/text_file.h"
#include "nn/memory.h"

#include <errno.h>
#ifdef __GLIBC__
#include <malloc.h>
#endif
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

static const char usage[] =
    "usage: adcheck [OPTION]... FILE...\n"
    "Checks the claims of hand-written derivations and says what is wrong with those that do not hold.\n"
    "A FILE of - is the standard input.\n"
    "\n"
    "  --json           print JSON\n"
    "  --html FILE      also write a page to read in a browser, or to hand back\n"
    "  --dot FILE       write the graph of the last file's computation for Graphviz\n"
    "  --emit-c F X     print the gradient of the number F by X in the file as a C function, and check nothing\n"
    "  --draws N        test laws at N draws of their quantified names (200)\n"
    "  --seed S         take other draws\n"
    "  --time SECONDS   give up on a file after that (60)\n"
    "  --memory MB      use at most that for a file's computation (1024)\n"
    "  --help, --version\n"
    "\n"
    "A derivation, one statement a line:\n"
    "  x = [1, 3, 0]                       a name\n"
    "  t ~ normal()                        a name of which a claim must hold whatever it is\n"
    "  check \"sigma'\": grad(sigmoid(t), t) == sigmoid(t) * (1 - sigmoid(t))\n"
    "  show grad(sum(x ^ 2), x)\n"
    "The manual adcheck(1) has the whole language.\n"
    "\n"
    "Exit status: 0 every check holds; 1 some check is wrong; 2 a file could not be read or understood.\n";

typedef struct command {
    ac_options options;
    bool json;
    const char *dot, *html;
    const char *const *emit; /* F and X */
    const char **files;
    int file_count;
} command;

/* ---- the command line ------------------------------------------------------------------------------------------- */

static bool complain(const char *problem, const char *argument) {
    fprintf(stderr, "adcheck: %s%s%s\nTry 'adcheck --help'.\n", problem, argument != NULL ? ": " : "",
            argument != NULL ? argument : "");
    return false;
}

static bool read_count(const char *text, double least, double most, double *number) {
    char *end;
    *number = strtod(text, &end);
    return *text != '\0' && *end == '\0' && *number >= least && *number <= most;
}

/* An option with its value, behind '=' or in the next argument; *used counts the arguments that it took. */
static bool read_option(command *c, const char *name, const char *next, int *used) {
    static const char *const names[] = {"--draws", "--seed", "--time", "--memory", "--dot", "--html"};
    static const double least[] = {1, 0, 1e-3, 1}, most[] = {AC_MAX_DRAWS, 9e15, 1e6, 1e6};
    const char *equals = strchr(name, '='), *value = equals != NULL ? equals + 1 : next;
    size_t length = equals != NULL ? (size_t)(equals - name) : strlen(name);
    double number = 0;
    int i = 0, count = (int)(sizeof names / sizeof names[0]);
    while (i < count && !(strlen(names[i]) == length && memcmp(name, names[i], length) == 0)) i++;
    if (i == count) return complain("unknown option", name);
    if (value == NULL) return complain("an option without its value", name);
    *used = equals != NULL ? 1 : 2;
    if (i < 4 && (!read_count(value, least[i], most[i], &number) || (i < 2 && number != floor(number)))) {
        char problem[120];
        snprintf(problem, sizeof problem, "%s takes a %snumber from %.15g to %.15g, not", names[i],
                 i < 2 ? "whole " : "", least[i], most[i]);
        return complain(problem, value);
    }
    if (i == 0) c->options.draws = (int)number;
    if (i == 1) c->options.seed = (uint64_t)number;
    if (i == 2) c->options.limits.seconds = number;
    if (i == 3) c->options.limits.bytes = (size_t)(number * 1048576);
    if (i == 4) c->dot = value;
    if (i == 5) c->html = value;
    length = strlen(value);
    if (i >= 4 && length > 3 && strcmp(value + length - 3, ".ad") == 0)
        return complain("that would overwrite a derivation", value);
    return true;
}

static bool read_arguments(command *c, int count, char **arguments) {
    bool options = true;
    for (int i = 1, used; i < count; i += used) {
        const char *a = arguments[i];
        used = 1;
        if (options && strcmp(a, "--") == 0) options = false;
        else if (options && strcmp(a, "--json") == 0) c->json = true;
        else if (options && strcmp(a, "--emit-c") == 0) {
            if (i + 2 >= count) return complain("an option without its values", a);
            c->emit = (const char *const *)(arguments + i + 1);
            used = 3;
        } else if (options && a[0] == '-' && a[1] != '\0') {
            if (!read_option(c, a, arguments[i + 1], &used)) return false;
        } else c->files[c->file_count++] = a;
    }
    return c->file_count > 0 || complain("no file", NULL);
}

/* ---- files ------------------------------------------------------------------------------------------------------ */

static bool write_dot(const command *c, const ac_text_file *file) {
    FILE *out = fopen(c->dot, "w");
    bool fine = out != NULL && ac_draw(&file->source, &c->options, out);
    if (out != NULL && fclose(out) != 0) fine = false;
    if (!fine) fprintf(stderr, "adcheck: %s: the graph could not be written\n", c->dot);
    return fine;
}

static int check_files(const command *c, const ac_sink *const *sinks, int sink_count) {
    int status = 0;
    for (int i = 0; i < c->file_count; i++) {
        ac_text_file file;
        ac_text_file_open(&file, c->files[i]);
        int now = file.why != NULL ? ac_check_unreadable(file.source.name, file.why, sinks, sink_count)
                                   : ac_check_text(&file.source, &c->options, sinks, sink_count);
        if (now > status) status = now;
        bool drawn = c->dot != NULL && i + 1 == c->file_count;
        if (drawn && now == 2) fprintf(stderr, "adcheck: %s: not written, %s has an error\n", c->dot, file.source.name);
        if (drawn && (now == 2 || !write_dot(c, &file))) status = 2;
        ac_text_file_close(&file);
    }
    return status;
}

static int emit_files(const command *c) {
    int status = 0;
    for (int i = 0; i < c->file_count; i++) {
        char message[512];
        ac_text_file file;
        ac_text_file_open(&file, c->files[i]);
        bool fine = file.why == NULL &&
                    ac_emit_c(&file.source, &c->options, c->emit[0], c->emit[1], stdout, message, sizeof message);
        if (!fine) fprintf(stderr, "%s: %s\n", file.source.name, file.why != NULL ? file.why : message);
        if (!fine) status = 2;
        ac_text_file_close(&file);
    }
    return fflush(stdout) == 0 && !ferror(stdout) ? status : 2;
}

static int run_with(const command *c, const ac_sink *page) {
    ac_json_report json;
    ac_text_report text;
    const char *no_colour = getenv("NO_COLOR");
    const char *terminal = getenv("TERM");
    bool colour = isatty(STDOUT_FILENO) && (no_colour == NULL || *no_colour == '\0') &&
                  (terminal == NULL || strcmp(terminal, "dumb") != 0);
    int status;
    if (c->json) {
        ac_json_open(&json, stdout);
        const ac_sink *const sinks[] = {&json.sink, page};
        status = check_files(c, sinks, page != NULL ? 2 : 1);
        ac_json_close(&json);
    } else {
        ac_text_open(&text, stdout, stderr, colour);
        const ac_sink *const sinks[] = {&text.sink, page};
        status = check_files(c, sinks, page != NULL ? 2 : 1);
        ac_text_close(&text);
    }
    if (fflush(stdout) == 0 && !ferror(stdout)) return status;
    fprintf(stderr, "adcheck: writing failed: %s\n", strerror(errno));
    return 2;
}

static int complain_of_page(const command *c) {
    fprintf(stderr, "adcheck: %s: the page could not be written%s%s\n", c->html, errno != 0 ? ": " : "",
            errno != 0 ? strerror(errno) : "");
    return 2;
}

/* Without its page if that cannot be written: what is wrong with a derivation is said all the same. */
static int run(const command *c) {
    ac_output output;
    ac_html_report page;
    if (c->html == NULL) return run_with(c, NULL);
    if (!ac_output_open(&output, c->html)) {
        complain_of_page(c);
        run_with(c, NULL);
        return 2;
    }
    bool opened = ac_html_open(&page, output.file, &c->options);
    int status = run_with(c, opened ? &page.sink : NULL);
    errno = 0;
    bool whole = ac_html_close(&page);
    return ac_output_close(&output, whole) ? status : complain_of_page(c);
}

/* OpenBLAS's threads cost more than they save on matrices of a derivation's size. Other libraries have no such function. */
extern void openblas_set_num_threads(int count) __attribute__((weak));

/* A statement takes what the one before it gave back. In between it stays here: to get it from the system again, page by
 * page, took up to a quarter of the time. */
static void keep_memory(void) {
#ifdef __GLIBC__
    enum { LARGEST_BLOCK = 1 << 25, MOST = 1 << 28 };
    (void)mallopt(M_MMAP_THRESHOLD, LARGEST_BLOCK);
    (void)mallopt(M_TRIM_THRESHOLD, MOST);
#endif
}

int main(int count, char **arguments) {
    command c = {0};
    int status = 2;
    keep_memory();
    if (openblas_set_num_threads != NULL) openblas_set_num_threads(1);
    for (int i = 1; i < count; i++) {
        if (strcmp(arguments[i], "--help") == 0 || strcmp(arguments[i], "-h") == 0) return fputs(usage, stdout) < 0;
        if (strcmp(arguments[i], "--version") == 0) return puts("adcheck " AG_VERSION) < 0;
        if (strcmp(arguments[i], "--") == 0) break;
    }
    c.files = nn_allocate((size_t)count, sizeof *c.files);
    if (count < 2) fputs(usage, stderr);
    else if (c.files == NULL) fputs("adcheck: out of memory\n", stderr);
    else if (read_arguments(&c, count, arguments)) status = c.emit != NULL ? emit_files(&c) : run(&c);
    nn_release(c.files);
    return status;
}
