/* The command adcheck: its options, what it writes and where, its exit status. */
#include "folder.h"
#include "html.h"

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

static char said[1 << 16], complained[1 << 16];

static void read_back(const char *name, char *text, size_t size) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    size_t got = fread(text, 1, size - 1, file);
    text[got] = '\0';
    fclose(file);
}

static void write_file(const char *name, const char *text) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
}

static bool is_there(const char *name) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return access(path, F_OK) == 0;
}

/* Runs a line of the shell in the folder; its exit status. */
static int run_line(const char *line) {
    char command[1024];
    snprintf(command, sizeof command, "cd %s && { %s; } > said 2> complained", folder, line);
    int status = system(command);
    read_back("said", said, sizeof said);
    read_back("complained", complained, sizeof complained);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static int run(const char *arguments) {
    char line[512];
    snprintf(line, sizeof line, ADCHECK " %s", arguments);
    return run_line(line);
}

static int make_files(void **unused) {
    if (open_folder(unused) != 0) return 1;
    write_file("right.ad", "x = 2\ny = x^2\ncheck \"square\": grad(y, x) == 4\n");
    write_file("wrong.ad", "x = [1, 2]\ncheck \"<twice>\": 2 * x == [2, 5]\n");
    write_file("broken.ad", "x = \n");
    return 0;
}

static void expect(const char *text, const char *part) {
    if (strstr(text, part) == NULL) fail_msg("\"%s\" is not in:\n%s", part, text);
}

/* ---- tests ------------------------------------------------------------------------------------------------------ */

static void the_status_says_how_it_went(void **unused) {
    (void)unused;
    assert_int_equal(run("right.ad"), 0);
    assert_int_equal(run("right.ad wrong.ad"), 1);
    assert_int_equal(run("wrong.ad broken.ad right.ad"), 2);
    expect(said, "right.ad: 1 check, 1 hold, 0 wrong");
    expect(complained, "broken.ad:1:5: error: ");
    assert_int_equal(run("gone.ad"), 2);
    assert_int_equal(run("- < wrong.ad"), 1);
    expect(said, "<stdin>:2");
    assert_int_equal(run(""), 2);
    expect(complained, "usage: adcheck");
    assert_int_equal(run("--help"), 0);
    expect(said, "--html FILE");
    assert_int_equal(run("--version"), 0);
    assert_int_equal(run("--draws 0 right.ad"), 2);
    assert_int_equal(run("--colour right.ad"), 2);
    assert_int_equal(run("right.ad --seed"), 2);
}

/* An overlong form, half a surrogate pair, half a character: JSON is UTF-8 (RFC 8259). */
static void a_name_that_is_no_text_is_shown_as_such(void **unused) {
    (void)unused;
    write_file("\xE0\x80\x80\xED\xA0\x80\xC3.ad", "check 1 == 1\n");
    assert_int_equal(run("--json *[!a-z].ad"), 0);
    expect(said, "{\"file\": \"???????.ad\"");
}

/* The page comes beside the other reports, and changes nothing about them. */
static void a_page_is_written_beside_the_report(void **unused) {
    (void)unused;
    static char page[1 << 20], before[sizeof said];
    static const char *const options[] = {"", "--json "};
    for (int i = 0; i < 2; i++) {
        char command[128];
        snprintf(command, sizeof command, "%sright.ad wrong.ad broken.ad", options[i]);
        assert_int_equal(run(command), 2);
        strcpy(before, said);
        snprintf(command, sizeof command, "%s--html page.html right.ad wrong.ad broken.ad", options[i]);
        assert_int_equal(run(command), 2);
        assert_string_equal(said, before);
        read_back("page.html", page, sizeof page);
        html_check(page);
        expect(page, "2 claims: 1 holds, 1 is wrong, in 3 files; 1 could not be checked to the end");
        expect(page, "<bdi>&lt;twice&gt;</bdi>");
    }
    assert_int_equal(run("--html page.html right.ad"), 0);
    assert_int_equal(run("--html page.html --dot graph.dot wrong.ad"), 1);
    assert_true(is_there("graph.dot"));
    read_back("page.html", page, sizeof page);
    html_check(page);
    expect(page, "1 claim: 0 hold, 1 is wrong");
}

/* The derivations are checked all the same, nothing half-written is left, and what was there stays. */
static void a_page_that_cannot_be_written_is_an_error(void **unused) {
    (void)unused;
    static char text[1 << 16];
    assert_int_equal(run("--html nowhere/page.html right.ad"), 2);
    expect(complained, "adcheck: nowhere/page.html: the page could not be written: No such file or directory");
    expect(said, "1 hold, 0 wrong");
    assert_int_equal(run("--html /dev/full right.ad"), 2);
    expect(complained, "/dev/full: the page could not be written: No space left on device");
    write_file("page.html", "before");
    assert_int_equal(run_line("trap '' XFSZ; ulimit -f 1; " ADCHECK " --html page.html right.ad"), 2);
    expect(complained, "adcheck: page.html: the page could not be written");
    read_back("page.html", text, sizeof text);
    assert_string_equal(text, "before");
    assert_int_equal(run_line("ls | grep 'page.html[.]'"), 1);
    assert_int_equal(run("--html right.ad wrong.ad"), 2);
    expect(complained, "that would overwrite a derivation: right.ad");
    read_back("right.ad", text, sizeof text);
    assert_non_null(strstr(text, "square"));
}

/* A derivation of so many claims of 40 kB. */
static void write_claims(const char *name, int claims) {
    enum { NUMBERS = 20000 };
    size_t size;
    char *text;
    FILE *out = open_memstream(&text, &size);
    assert_non_null(out);
    for (int i = 0; i < claims; i++) {
        fputs("check sum([", out);
        for (int k = 0; k < NUMBERS; k++) fputs("1,", out);
        fprintf(out, "0]) == %d\n", NUMBERS);
    }
    assert_int_equal(fclose(out), 0);
    write_file(name, text);
    free(text);
}

/* Runs adcheck on a file; the most memory that it held, in kB. */
static long most_memory(const char *name) {
    struct rusage usage;
    int status = -1;
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        if (chdir(folder) == 0 && freopen("said", "w", stdout) != NULL) execl(ADCHECK, "adcheck", name, (char *)NULL);
        _exit(3);
    }
    assert_int_equal(wait4(child, &status, 0, &usage), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    return usage.ru_maxrss;
}

#ifdef __SANITIZE_ADDRESS__
enum { KEEPS_WHAT_IS_FREED = 1 };
#else
enum { KEEPS_WHAT_IS_FREED = 0 };
#endif

static void memory_does_not_grow_with_the_text(void **unused) {
    (void)unused;
    enum { FEW = 60, MANY = 300 }; /* 2.4 and 12 MB */
    write_claims("few.ad", FEW);
    write_claims("many.ad", MANY);
    long few = most_memory("few.ad"), many = most_memory("many.ad");
    read_back("said", said, sizeof said);
    expect(said, "many.ad: 300 checks, 300 hold, 0 wrong");
    if (!KEEPS_WHAT_IS_FREED && many > few + 2000)
        fail_msg("%ld kB for %d claims, %ld kB for %d", few, FEW, many, MANY);
}

/* A large text is copied to a file: without room for that it is read into memory, if it can be read again. */
static void a_large_file_needs_no_copy(void **unused) {
    (void)unused;
    write_claims("few.ad", 60);
    assert_int_equal(run("- < few.ad"), 0);
    expect(said, "<stdin>: 60 checks, 60 hold, 0 wrong");
    assert_int_equal(run_line("cat few.ad | " ADCHECK " -"), 0);
    expect(said, "<stdin>: 60 checks, 60 hold, 0 wrong");
    assert_int_equal(run_line("trap '' XFSZ; ulimit -f 100; " ADCHECK " few.ad"), 0);
    expect(said, "few.ad: 60 checks, 60 hold, 0 wrong");
    assert_int_equal(run_line("cat few.ad | (trap '' XFSZ; ulimit -f 100; " ADCHECK " -)"), 2);
    expect(complained, "<stdin>:1:1: error: there is no room for a temporary copy");
    assert_int_equal(run_line("yes '#' | head -c 80000000 | " ADCHECK " -"), 2);
    expect(complained, "the file has more than 67108864 bytes");
    assert_int_equal(run("."), 2);
    expect(complained, "Is a directory");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_status_says_how_it_went),
        cmocka_unit_test(a_name_that_is_no_text_is_shown_as_such),
        cmocka_unit_test(a_page_is_written_beside_the_report),
        cmocka_unit_test(a_page_that_cannot_be_written_is_an_error),
        cmocka_unit_test(memory_does_not_grow_with_the_text),
        cmocka_unit_test(a_large_file_needs_no_copy),
    };
    return cmocka_run_group_tests(tests, make_files, close_folder);
}
