/* The report as a page: well-formed whatever is checked, with formulas as on paper and what is wrong marked. */
#include "html.h"

#include <dirent.h>
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "nn/check/report.h"
#include "nn_memory.h"

/* ---- pages ------------------------------------------------------------------------------------------------------ */

typedef struct input {
    const char *name, *text;
    size_t size; /* 0: up to the end of the text */
} input;

static const ac_options few_draws = {.draws = 5};

/* What a stream holds, from its start; freed by the caller. */
static char *contents(FILE *file) {
    assert_int_equal(fflush(file), 0);
    long size = fseek(file, 0, SEEK_END) == 0 ? ftell(file) : -1;
    assert_true(size >= 0);
    rewind(file);
    char *text = calloc((size_t)size + 1, 1);
    assert_non_null(text);
    assert_int_equal(fread(text, 1, (size_t)size, file), size);
    assert_int_equal(strlen(text), size);
    return text;
}

/* The page of some files; NULL if it could not be made. */
static char *try_page(const input *files, int count, const ac_options *options) {
    FILE *out = tmpfile();
    ac_html_report report;
    assert_non_null(out);
    bool opened = ac_html_open(&report, out, options);
    const ac_sink *const sinks[] = {&report.sink};
    for (int i = 0; i < count && opened; i++) {
        size_t size = files[i].size > 0 ? files[i].size : strlen(files[i].text);
        ac_check_text(&(ac_source){.name = files[i].name, .text = files[i].text, .size = size}, options, sinks, 1);
    }
    char *page = ac_html_close(&report) ? contents(out) : NULL;
    fclose(out);
    return page;
}

static char *page_of(const char *name, const char *text) {
    char *page = try_page(&(input){name, text, 0}, 1, &few_draws);
    assert_non_null(page);
    assert_int_equal(taken, 0);
    html_check(page);
    return page;
}

static void expect(const char *page, const char *part) {
    if (strstr(page, part) == NULL) fail_msg("\"%s\" is not in the page:\n%s", part, page);
}

/* ---- programs called dot ---------------------------------------------------------------------------------------- */

static char folder[64], path_before[4096];

static void use_path(const char *path) { assert_int_equal(setenv("PATH", path, 1), 0); }

static int no_graphviz(void **unused) {
    (void)unused;
    use_path("");
    return 0;
}

static int find_folder(void **unused) {
    (void)unused;
    const char *path = getenv("PATH");
    snprintf(path_before, sizeof path_before, "%s", path != NULL ? path : "/usr/bin:/bin");
    strcpy(folder, "/tmp/autograd_html_XXXXXX");
    return mkdtemp(folder) == NULL;
}

static void remove_dot(void) {
    char name[128];
    snprintf(name, sizeof name, "%s/dot", folder);
    unlink(name);
}

static int remove_folder(void **unused) {
    (void)unused;
    remove_dot();
    return rmdir(folder);
}

static void use_dot(const char *script) {
    char name[128];
    snprintf(name, sizeof name, "%s/dot", folder);
    FILE *file = fopen(name, "w");
    assert_non_null(file);
    fprintf(file, "#!/bin/sh\nPATH=/usr/bin:/bin\n%s\n", script);
    assert_int_equal(fclose(file), 0);
    assert_int_equal(chmod(name, 0700), 0);
    use_path(folder);
}

static double clock_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static const char derivation[] =
    "x = [1, 3, 0]\ny = [0, 1, 0]\n"
    "W = [[0.3, 0.1, -2], [-0.6, -0.5, 2], [-1, -0.5, 0.1]]\n"
    "L = -sum(y * ln(softmax(x @ W)))\n"
    "check \"dL/dW\": grad(L, W) == [[0.00, -1.00, 1.50], [0.01, -2.99, 2.97], [0, 0, 0.0]]\n"
    "check \"same\": 2 == 2\nshow L\n";

static const char picture[] =
    "cat > /dev/null; echo '<?xml version=\"1.0\"?><!-- a --><svg width=\"10pt\" height=\"5pt\">"
    "<g id=\"graph0\" class=\"graph\"><title>t</title><text x=\"1\">adjoint 1</text></g></svg>'";

/* ---- tests ------------------------------------------------------------------------------------------------------ */

static void a_page_has_what_is_said_of_each_claim(void **unused) {
    (void)unused;
    char *page = page_of("step.ad", derivation);
    expect(page, "<title>2 claims: 1 holds, 1 is wrong</title>");
    expect(page, "<h2 id=\"f1\"><bdi>step.ad</bdi></h2>");
    expect(page, "<li class=\"wrong\" id=\"f1-l5\">");
    expect(page, "<li class=\"holds\" id=\"f1-l6\">");
    expect(page, "<li class=\"shown\" id=\"f1-l7\">");
    expect(page, "<bdi>dL/dW</bdi>");
    expect(page, "<strong>entries</strong>");
    expect(page, "<a class=\"bad\" href=\"#f1-l5\" aria-label=\"wrong\">✗</a> check &quot;dL/dW&quot;");
    expect(page, "<a class=\"good\" href=\"#f1-l6\" aria-label=\"holds\">✓</a>");
    expect(page, "Graphviz, which was not found");
    free(page);
}

static void wrong_entries_are_marked(void **unused) {
    (void)unused;
    char *page = page_of("a", "x = [1, 2, 3, 4]\ncheck 2 * x == [2, 4, 7, 8]\n");
    assert_int_equal(html_count(page, "<td class=\"bad\">"), 1);
    expect(page, "<th scope=\"row\">3</th><td class=\"bad\"><span class=\"vh\">wrong: </span>7</td><td "
                 "class=\"fix\"><span class=\"vh\">should be: </span>6</td>");
    free(page);
    page = page_of("a", "A = [[1, 2], [3, 4]]\ncheck -A == [[-1, -2.0], [-3, 4]] within 0.5\n"
                        "check A == [1.5, 2]\ncheck 2 == 3\ncheck A == [[1, 2.4], [3, 4.7]] within 0.5\n");
    expect(page, "<td class=\"bad\"><span class=\"vh\">wrong: </span>4</td>");
    expect(page, "<span class=\"vh\">should be: </span>\xE2\x88\x92"
                 "4</td>");
    expect(page, "wrong: </span>4.7</td>");
    assert_int_equal(html_count(page, "<td class=\"bad\">"), 3); /* of another shape: none */
    expect(page, "<span class=\"within\">within ");
    free(page);
}

/* A claim of which only one entry of ten thousand is wrong: it is shown, and little else. */
static void large_values_are_cut_to_what_is_wrong(void **unused) {
    (void)unused;
    char *page =
        page_of("a", "A = ones(100, 100)\ncheck A == ones(100, 100) + outer(onehot(57, 100), onehot(83, 100))\n"
                     "v = ones(1000)\ncheck v == v + onehot(900, 1000) / 2\n");
    expect(page, "100 × 100: shown are 6 of the rows and 6 of the columns, those with wrong entries first");
    expect(page, "<th scope=\"row\">57</th>");
    expect(page, "<th scope=\"col\">83</th>");
    expect(page, "1000 entries: shown are 11, wrong ones first");
    expect(page, "<th scope=\"row\">900</th><td class=\"bad\">");
    assert_int_equal(html_count(page, "<td class=\"bad\">"), 2);
    assert_true(strlen(page) < 40000);
    free(page);
}

static void laws_say_which_draw_is_shown(void **unused) {
    (void)unused;
    char *page = page_of("a", "t ~ normal()\ncheck grad(t^2, t) == 2 * t\ncheck grad(t^2, t) == 2 * abs(t)\n");
    expect(page, "A law, tried at 5 draws; it holds exactly.");
    expect(page, "A law, tried at 5 draws. Below is the worst of them, draw ");
    expect(page, "<div class=\"what\"><h4><bdi>grad(t^2, t) == 2 * abs(t)</bdi></h4>");
    free(page);
}

static void what_is_not_understood_is_shown_with_its_place(void **unused) {
    (void)unused;
    char *page = page_of("a", "check 1 == 1\nwidth = 2\ny = 3 + wdith # <b>\n");
    expect(page, "Line 3, column 9: unknown name &#39;wdith&#39;");
    expect(page, "<pre>y = 3 + wdith # &lt;b&gt;\n        ^~~~~\n</pre>");
    expect(page, "Hint: did you mean &#39;width&#39;?");
    free(page);
    page = page_of("a", "check 1 == 1\ny = inv([[1, 2]])\n");
    expect(page, "1 claim, which holds; the file could not be checked to its end");
    free(page);
    ac_html_report report;
    FILE *out = tmpfile();
    assert_true(out != NULL && ac_html_open(&report, out, &few_draws));
    const ac_sink *const sinks[] = {&report.sink};
    assert_int_equal(ac_check_unreadable("gone.ad", "No such file", sinks, 1), 2);
    assert_true(ac_html_close(&report));
    page = contents(out);
    html_check(page);
    expect(page, "This could not be read.</strong> No such file");
    fclose(out);
    free(page);
}

/* ---- hostile ones ----------------------------------------------------------------------------------------------- */

static void nothing_from_the_input_becomes_markup(void **unused) {
    (void)unused;
    static const char text[] = "x = 2 # </code></pre><script>alert(1)</script> & &amp; \"'\n"
                               "check \"</bdi><img src=x onerror=alert(1)> &lt; ' \xE2\x80\xAE turned\": x == 3\n"
                               "check \"law & order\": 1 == 2\n";
    char *page = page_of("<b>\"&'\xFF\x01\xC3.ad", text);
    expect(page, "&lt;b&gt;&quot;&amp;&#39;\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD.ad");
    expect(page, "&lt;/code&gt;&lt;/pre&gt;&lt;script&gt;alert(1)&lt;/script&gt; &amp; &amp;amp; &quot;&#39;");
    expect(page, "&lt;img src=x onerror=alert(1)&gt; &amp;lt; &#39; \xEF\xBF\xBD turned");
    assert_null(strstr(page, "<script"));
    assert_null(strstr(page, "<img"));
    free(page);
}

/* Any bytes at all; those of UTF-8 cut off, too long, out of range, and those that HTML does not have. */
static void any_bytes_make_a_page(void **unused) {
    (void)unused;
    static const char *const bytes[] = {"\x00",         "\x1B[31m", "\xC0\x80", "\xED\xA0\x80", "\xF4\x90\x80\x80",
                                        "\xEF\xBF\xBE", "\xE2\x82", "\x7F",     "\xC2\x85",     "\xEF\xB7\x90",
                                        "\xE2\x81\xA6", "\xFF\xFE"};
    for (size_t i = 0; i < sizeof bytes / sizeof bytes[0]; i++) {
        char text[128];
        size_t length = i == 0 ? 1 : strlen(bytes[i]), size = (size_t)sprintf(text, "check 1 == 1\n# ");
        memcpy(text + size, bytes[i], length);
        size += length;
        size += (size_t)sprintf(text + size, "\ncheck \"a\": 1 == 2\nx = 3 +\n");
        char *page = try_page(&(input){bytes[i], text, size}, 1, &few_draws);
        assert_non_null(page);
        html_check(page);
        expect(page, "# \xEF\xBF\xBD");
        free(page);
    }
    uint32_t random = 1;
    char text[301] = "";
    const size_t size = sizeof text - 1;
    for (int round = 0; round < 300; round++) {
        for (size_t i = 0; i < size; i++) text[i] = (char)((random = random * 1664525u + 1013904223u) >> 24);
        memcpy(text, "check \"\":1==2\n", 14);
        char *page = try_page(&(input){"r", text, size}, 1, &few_draws);
        assert_non_null(page);
        html_check(page);
        free(page);
    }
}

/* Long lines, many lines, deep and wide expressions: cut, and it is said so. */
static void what_is_too_long_is_cut(void **unused) {
    (void)unused;
    enum { SIZE = 1 << 17 };
    char *text = calloc(SIZE, 1);
    assert_non_null(text);
    size_t n = (size_t)sprintf(text, "x = 1\ncheck \"deep\": ");
    for (int i = 0; i < 300; i++) n += (size_t)sprintf(text + n, "(x^2 + ");
    n += (size_t)sprintf(text + n, "x");
    for (int i = 0; i < 300; i++) n += (size_t)sprintf(text + n, ")");
    n += (size_t)sprintf(text + n, " == x\ncheck \"wide\": x");
    for (int i = 0; i < 400; i++) n += (size_t)sprintf(text + n, " + x");
    n += (size_t)sprintf(text + n, " == 401\n");
    for (int i = 0; i < 3000; i++) n += (size_t)sprintf(text + n, "# line %d\n", i);
    char *page = page_of("long", text);
    expect(page, "<code>(x^2 + (x^2 +");
    expect(page, "more bytes</b>");
    expect(page, "The first 2000 lines; ");
    assert_true(strlen(page) < 250000);
    free(page);
    free(text);
}

static void a_thousand_claims_make_a_page_of_reasonable_size(void **unused) {
    (void)unused;
    enum { SIZE = 1 << 17 };
    char *text = calloc(SIZE, 1);
    assert_non_null(text);
    size_t n = (size_t)sprintf(text, "A = ones(100, 100)\nB = A + 1\n");
    for (int i = 0; i < 1000; i++)
        n += (size_t)sprintf(text + n, "check \"number %d\": A + %d == B + %d\n", i, i, i - i % 2);
    double start = clock_now();
    char *page = try_page(&(input){"many", text, n}, 1, &few_draws);
    double seconds = clock_now() - start;
    assert_non_null(page);
    print_message("1000 claims: %.2f s, %.1f MB\n", seconds, (double)strlen(page) * 1e-6);
    assert_true(strlen(page) < 6 << 20);
    expect(page, "and 470 more");
    free(page);
    free(text);
}

/* All derivations of the examples, on one page. */
static void the_examples_make_a_page(void **unused) {
    (void)unused;
    enum { MOST_FILES = 100 };
    static input files[MOST_FILES];
    int count = 0;
    char path[4096];
    const char *slash = strrchr(__FILE__, '/');
    int length =
        snprintf(path, sizeof path, "%.*s../examples/derivations", slash ? (int)(slash - __FILE__) + 1 : 0, __FILE__);
    DIR *examples = opendir(path);
    assert_non_null(examples);
    for (struct dirent *entry; (entry = readdir(examples)) != NULL && count < MOST_FILES;) {
        if (entry->d_name[0] == '.') continue;
        snprintf(path + length, sizeof path - (size_t)length, "/%s", entry->d_name);
        FILE *file = fopen(path, "rb");
        assert_non_null(file);
        files[count++] = (input){"example", contents(file), 0};
        fclose(file);
    }
    closedir(examples);
    char *page = try_page(files, count, &(ac_options){.draws = 2});
    assert_non_null(page);
    html_check(page);
    char told[64];
    snprintf(told, sizeof told, ", in %d files</title>", count);
    expect(page, told);
    free(page);
    while (count > 0) free((char *)(uintptr_t)files[--count].text);
}

/* ---- Graphviz --------------------------------------------------------------------------------------------------- */

static void nothing_is_left_behind(void) {
    errno = 0;
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
    assert_int_equal(errno, ECHILD);
    assert_int_equal(taken, 0);
}

static void a_picture_is_put_into_the_page(void **unused) {
    (void)unused;
    use_dot(picture);
    char *page = page_of("a", derivation);
    expect(page, "<h3 id=\"f1-drawings\">The computation</h3>");
    expect(page,
           "<svg class=\"graph\" role=\"img\" style=\"min-width:7pt\" width=\"10pt\" height=\"5pt\"><g class=\"graph\">"
           "<text class=\"adjoint\" x=\"1\">adjoint 1</text></g></svg>");
    assert_null(strstr(page, "<title>t</title>"));
    nothing_is_left_behind();
    free(page);
}

/* What dot left running is ended with it. Whoever takes in orphans may not have taken it in yet: a 'Z', then. */
static void what_it_started_has_ended(void) {
    char name[128], state = 'Z';
    int process = 0;
    snprintf(name, sizeof name, "%s/dot.pid", folder);
    FILE *file = fopen(name, "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%d", &process), 1);
    fclose(file);
    unlink(name);
    snprintf(name, sizeof name, "/proc/%d/stat", process);
    for (int tries = 0; tries < 100; tries++) {
        file = fopen(name, "r");
        if (file == NULL) return;
        if (fscanf(file, "%*d (%*[^)]) %c", &state) != 1) state = 'Z';
        fclose(file);
        if (state == 'Z') return;
        usleep(10000);
    }
    fail_msg("process %d goes on", process);
}

/* Whatever dot does, there is a page, soon, and no process is left. */
static void graphviz_may_fail(void **unused) {
    (void)unused;
    static const struct {
        const char *script, *sentence;
    } cases[] = {{"exit 1", "is not drawn: Graphviz failed"},
                 {"cat > /dev/null; echo 'no picture'", "is not drawn: Graphviz failed"},
                 {"echo '<svg width=\"10pt\">'", "is not drawn: Graphviz failed"},
                 {"kill -9 $$", "is not drawn: Graphviz failed"},
                 {"exec yes", "is not drawn: its drawing is too large"},
                 {"exec sleep 100", "Graphviz took too long"},
                 {"sleep 100 & echo $! > $0.pid; exit 0", "Graphviz took too long"},
                 {"exec >&-; exec sleep 100", "Graphviz took too long"}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        use_dot(cases[i].script);
        double start = clock_now();
        char *page = try_page(&(input){"a", derivation, 0}, 1, &(ac_options){.limits = {.seconds = 0.5}});
        assert_non_null(page);
        html_check(page);
        expect(page, cases[i].sentence);
        assert_true(clock_now() - start < 10);
        nothing_is_left_behind();
        if (strstr(cases[i].script, ".pid") != NULL) what_it_started_has_ended();
        free(page);
    }
    remove_dot();
    use_path(":.:relative/folder:/nowhere"); /* never what happens to lie where we are */
    char *page = page_of("a", derivation);
    expect(page, "Graphviz, which was not found");
    free(page);
}

/* The real one, where it is installed. */
static void graphviz_draws_values_and_adjoints(void **unused) {
    (void)unused;
    use_path(path_before);
    char *page =
        page_of("a", "x = [1.25, 2]\nŷ = exp(x)\nL = sum(ŷ * x)\ncheck grad(L, x) == ŷ\ncheck hess(L, ŷ) == eye(2)\n");
    if (strstr(page, "Graphviz, which was not found") != NULL) print_message("Graphviz is not installed\n");
    else {
        expect(page, ">x</text>");
        expect(page, ">1.25, 2</text>");
        expect(page, ">ŷ = exp</text>");
        expect(page, ">adjoint 1</text>");
        assert_int_equal(html_count(page, "<figure class=\"drawing\">"), 1);
    }
    nothing_is_left_behind();
    free(page);
    char *large = calloc(1 << 14, 1);
    assert_non_null(large);
    size_t n = (size_t)sprintf(large, "x = 2\ny = x");
    for (int i = 0; i < 200; i++) n += (size_t)sprintf(large + n, " * x");
    sprintf(large + n, "\ncheck grad(y, x) == 3\n");
    page = page_of("a", large);
    expect(page, "not drawn: ");
    expect(page, "steps, more than the eye can follow");
    free(page);
    free(large);
}

/* ---- memory and files ------------------------------------------------------------------------------------------- */

/* Each allocation fails in turn: there is a page that is whole, or none. */
static void memory_may_run_out(void **unused) {
    (void)unused;
    use_dot(picture);
    int whole = 0, pages = 0;
    for (int n = 0; whole == 0; n++) {
        allowed = n;
        char *page = try_page((const input[]){{"a", derivation, 0}, {"b", "check 1 == 2\n", 0}}, 2, &few_draws);
        whole = page != NULL && allowed > 0;
        allowed = -1;
        assert_int_equal(taken, 0);
        if (page == NULL) continue;
        html_check(page);
        pages++;
        if (whole) expect(page, "<svg");
        free(page);
    }
    assert_true(pages > 3);
    allowed = -1;
    nothing_is_left_behind();
}

static char *contents_of(const char *path) {
    FILE *file = fopen(path, "r");
    if (file == NULL) return NULL;
    char *text = contents(file);
    fclose(file);
    return text;
}

static void expect_contents(const char *path, const char *text) {
    char *got = contents_of(path);
    assert_non_null(got);
    assert_string_equal(got, text);
    free(got);
}

static void write_output(const char *path, const char *text, bool whole, bool there) {
    ac_output output;
    assert_true(ac_output_open(&output, path));
    fputs(text, output.file);
    assert_true(ac_output_close(&output, whole) == there);
    assert_int_equal(taken, 0);
}

static void files_are_written_whole_or_not_at_all(void **unused) {
    (void)unused;
    char inner[128], file[160], link[160];
    struct stat now;
    snprintf(inner, sizeof inner, "%s/out", folder);
    snprintf(file, sizeof file, "%s/page.html", inner);
    snprintf(link, sizeof link, "%s/link.html", inner);
    assert_int_equal(mkdir(inner, 0700), 0);
    write_output(file, "half", false, false);
    assert_null(contents_of(file));
    mode_t mask = umask(027);
    write_output(file, "one", true, true);
    umask(mask);
    expect_contents(file, "one");
    assert_true(stat(file, &now) == 0 && (now.st_mode & 0777) == 0640);
    assert_int_equal(chmod(file, 0604), 0);
    write_output(file, "half", false, false);
    expect_contents(file, "one");
    assert_int_equal(symlink("page.html", link), 0);
    write_output(link, "two", true, true);
    expect_contents(file, "two");
    assert_true(lstat(link, &now) == 0 && S_ISLNK(now.st_mode));
    assert_true(stat(file, &now) == 0 && (now.st_mode & 0777) == 0604);
    write_output("/dev/null", "text", true, true);
    write_output("/dev/full", "text", true, false);
    assert_true(stat("/dev/null", &now) == 0 && S_ISCHR(now.st_mode));
    ac_output output;
    assert_false(ac_output_open(&output, "/nowhere/at/all.html"));
    assert_int_equal(errno, ENOENT);
    assert_false(ac_output_open(&output, inner));
    for (int n = 0; n < 2; n++) {
        allowed = n;
        assert_false(ac_output_open(&output, file));
        allowed = -1;
        assert_int_equal(taken, 0);
    }
    assert_int_equal(unlink(file), 0);
    assert_int_equal(unlink(link), 0);
    assert_int_equal(rmdir(inner), 0); /* nothing else is there */
}

static void a_page_that_cannot_be_written_is_said_to_be_none(void **unused) {
    (void)unused;
    ac_html_report report;
    FILE *full = fopen("/dev/full", "w");
    assert_non_null(full);
    assert_true(ac_html_open(&report, full, &few_draws));
    const ac_sink *const sinks[] = {&report.sink};
    assert_int_equal(
        ac_check_text(&(ac_source){.name = "a", .text = derivation, .size = strlen(derivation)}, &few_draws, sinks, 1),
        1);
    assert_false(ac_html_close(&report));
    fclose(full);
    assert_int_equal(taken, 0);
}

/* A disk that is full while the page grows: files may have no more bytes than this. */
static void a_page_that_cannot_be_kept_is_none(void **unused) {
    (void)unused;
    struct rlimit before, small;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    for (rlim_t bytes = 0; bytes <= 1 << 14; bytes += 1 << 9) {
        ac_html_report report;
        char *text = NULL;
        size_t size = 0;
        FILE *out = open_memstream(&text, &size); /* no file */
        assert_non_null(out);
        small = (struct rlimit){bytes, before.rlim_max};
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
        bool opened = ac_html_open(&report, out, &few_draws);
        const ac_sink *const sinks[] = {&report.sink};
        if (opened)
            ac_check_text(&(ac_source){.name = "a", .text = derivation, .size = strlen(derivation)}, &few_draws, sinks,
                          1);
        bool whole = ac_html_close(&report);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
        fclose(out);
        if (whole) html_check(text);
        if (bytes < 1 << 12) assert_false(whole);
        if (bytes == 1 << 14) assert_true(whole);
        free(text);
        assert_int_equal(taken, 0);
    }
    signal(SIGXFSZ, handler);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_page_has_what_is_said_of_each_claim, no_graphviz),
        cmocka_unit_test_setup(wrong_entries_are_marked, no_graphviz),
        cmocka_unit_test_setup(large_values_are_cut_to_what_is_wrong, no_graphviz),
        cmocka_unit_test_setup(laws_say_which_draw_is_shown, no_graphviz),
        cmocka_unit_test_setup(what_is_not_understood_is_shown_with_its_place, no_graphviz),
        cmocka_unit_test_setup(nothing_from_the_input_becomes_markup, no_graphviz),
        cmocka_unit_test_setup(any_bytes_make_a_page, no_graphviz),
        cmocka_unit_test_setup(what_is_too_long_is_cut, no_graphviz),
        cmocka_unit_test_setup(a_thousand_claims_make_a_page_of_reasonable_size, no_graphviz),
        cmocka_unit_test_setup(the_examples_make_a_page, no_graphviz),
        cmocka_unit_test(a_picture_is_put_into_the_page),
        cmocka_unit_test(graphviz_may_fail),
        cmocka_unit_test(graphviz_draws_values_and_adjoints),
        cmocka_unit_test(memory_may_run_out),
        cmocka_unit_test_setup(files_are_written_whole_or_not_at_all, no_graphviz),
        cmocka_unit_test_setup(a_page_that_cannot_be_written_is_said_to_be_none, no_graphviz),
        cmocka_unit_test_setup(a_page_that_cannot_be_kept_is_none, no_graphviz),
    };
    return cmocka_run_group_tests(tests, find_folder, remove_folder);
}
