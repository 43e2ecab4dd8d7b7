/* Drawings and summaries of tapes. */
#include "derivatives.h"

#include <autograd/ops/ops_impl.h>

enum { MOST_TEXT = 1 << 20 };

/* What a function writes, as a string; freed by the caller. */
static char *drawn(ag_tape *t) {
    FILE *out = tmpfile();
    assert_non_null(out);
    assert_true(ag_dot(t, out));
    rewind(out);
    char *text = calloc(MOST_TEXT, 1);
    assert_non_null(text);
    size_t n = fread(text, 1, MOST_TEXT - 1, out);
    assert_true(n > 0 && n < MOST_TEXT - 1);
    fclose(out);
    return text;
}

static char *summarised(ag_tape *t) {
    FILE *out = tmpfile();
    assert_non_null(out);
    ag_tape_summary(t, out);
    rewind(out);
    char *text = calloc(MOST_TEXT, 1);
    assert_non_null(text);
    (void)fread(text, 1, MOST_TEXT - 1, out);
    fclose(out);
    return text;
}

static int occurrences(const char *text, const char *part) {
    int n = 0;
    for (const char *p = strstr(text, part); p; p = strstr(p + 1, part)) n++;
    return n;
}

static void check_contains(const char *text, const char *const *parts) {
    for (; *parts; parts++)
        if (!strstr(text, *parts)) fail_msg("\"%s\" is not in:\n%s", *parts, text);
}

/* Graphviz reads it, where it is installed. */
static void check_graphviz(ag_tape *t) {
    char name[] = "/tmp/autograd_draw_XXXXXX", command[256];
    if (system("command -v dot > /dev/null 2>&1") != 0) return;
    int file = mkstemp(name);
    assert_true(file >= 0);
    FILE *out = fdopen(file, "w");
    assert_non_null(out);
    assert_true(ag_dot(t, out));
    assert_int_equal(fclose(out), 0);
    snprintf(command, sizeof command, "dot -Tsvg %s > %s.svg 2> %s.err && ! test -s %s.err", name, name, name, name);
    int failed = system(command);
    snprintf(command, sizeof command, "cat %s.err >&2; rm -f %s %s.svg %s.err", name, name, name, name);
    int removed = system(command);
    assert_int_equal(failed, 0);
    assert_int_equal(removed, 0);
}

static ag_var record_example(ag_tape *t) {
    const double data[6] = {1.5, 2.5, 3.5, 4.5, 5.5, 6.5};
    ag_var x = ag_input(t, 0.5), w = ag_tensor(t, data, AG_SHAPE(2, 3)), c = ag_constant_tensor(t, data, AG_SHAPE(3));
    ag_name(x, "x");
    ag_name(w, "weights");
    ag_var h = ag_exp(ag_mul(w, c));
    ag_name(h, "a \"quoted\" \\ name\nof two lines");
    ag_var y = ag_add(ag_sum(ag_matmul(w, ag_transpose(h))), ag_mul(ag_sin(x), ag_at(w, 4)));
    ag_name(y, "loss");
    return y;
}

static void graph(void **unused) {
    (void)unused;
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var y = record_example(t);
    char *before = drawn(t);
    check_contains(before,
                   (const char *[]){"digraph", "\"x", "weights", "loss", "\\\"quoted\\\" \\\\ name", "(2, 3)", "(3)",
                                    "0.5", "1.5, 2.5, 3.5", "exp", "matmul", "sum", "sin", "->", "[4]", NULL});
    assert_int_equal(occurrences(before, "adjoint"), 0);
    assert_int_equal(occurrences(before, "{"), occurrences(before, "}"));
    check_graphviz(t);
    ag_backward(y);
    char *after = drawn(t);
    check_contains(after, (const char *[]){"adjoint 1", "adjoint 4.8267", NULL}); /* of loss; of x: 5.5 cos 0.5 */
    check_graphviz(t);
    char *again = drawn(t);
    assert_string_equal(after, again);
    free(before), free(after), free(again);
    ag_tape_free(t);
}

/* The same recording gives the same drawing: nothing depends on addresses. */
static void graphs_are_reproducible(void **unused) {
    (void)unused;
    char *first = NULL;
    for (int i = 0; i < 4; i++) {
        ag_tape *t = ag_tape_new_with(&(ag_options){.no_reserve = i % 2});
        if (i > 1) {
            (void)record_example(t);
            ag_tape_clear(t);
        }
        ag_backward(record_example(t));
        char *text = drawn(t);
        if (!first) first = text;
        assert_string_equal(text, first);
        if (text != first) free(text);
        ag_tape_free(t);
    }
    free(first);
}

/* Drawing changes nothing that a user can see, and draws what is there. */
static void graphs_of_all_kinds(void **unused) {
    (void)unused;
    for (int type = AG_F64; type <= AG_F32; type++) {
        ag_tape *t = ag_tape_new((ag_type)type);
        check_graphviz(t); /* empty */
        ag_var x = ag_input(t, 2), z = ag_mul(x, NAN), many[20];
        ag_var empty = ag_exp(ag_tensor(t, NULL, AG_SHAPE(0, 3))), big = ag_exp(ag_tensor(t, NULL, AG_SHAPE(1000)));
        for (int i = 0; i < 20; i++) many[i] = ag_mul(x, i);
        ag_var stacked = ag_stack(many, 20, 0), g;
        ag_gradient(ag_sum(ag_square(stacked)), &x, 1, &g);
        ag_mark mark = ag_tape_mark(t);
        ag_name(ag_sin(x), "forgotten");
        ag_tape_rewind(t, mark);
        ag_name(ag_cos(x), "remembered");
        ag_stats before = ag_tape_stats(t);
        ag_backward(g);
        char *text = drawn(t);
        check_contains(text, (const char *[]){"nan", "(0, 3)", "(1000)", "...", "remembered", NULL});
        assert_null(strstr(text, "forgotten"));
        check_graphviz(t);
        ag_stats after = ag_tape_stats(t);
        assert_int_equal(after.slots, before.slots);
        assert_int_equal(after.instruction_bytes, before.instruction_bytes);
        assert_false(ag_is_inert(z) || ag_is_inert(empty) || ag_is_inert(big));
        free(text);
        ag_tape_free(t);
    }
}

/* The vertex of a name. */
static const char *line_of(const char *text, const char *name) {
    const char *at = strstr(text, name);
    if (!at) fail_msg("%s is not drawn", name);
    while (at > text && at[-1] != '\n') at--;
    return at;
}

static bool line_has(const char *line, const char *part) {
    const char *at = strstr(line, part), *end = strchr(line, '\n');
    return at && end && at < end;
}

/* Leaves are drawn in their shapes; constants without an adjoint. */
static void leaves_in_graphs(void **unused) {
    (void)unused;
    ag_tape *t = ag_tape_new(AG_F64);
    const double data[6] = {1, 2, 3, 4, 5, 6};
    ag_var x = ag_input(t, 3), c = ag_constant(t, 4), m = ag_tensor(t, data, AG_SHAPE(2, 3));
    ag_var k = ag_constant_tensor(t, data, AG_SHAPE(3, 2)), unused_input = ag_tensor(t, data, AG_SHAPE(6));
    ag_name(x, "scalar_input");
    ag_name(c, "scalar_constant");
    ag_name(m, "tensor_input");
    ag_name(k, "tensor_constant");
    ag_name(unused_input, "unused_input");
    ag_var a = ag_mul(x, c), b = ag_matmul(m, k);
    ag_name(a, "product");
    ag_name(b, "matrix");
    ag_backward(ag_add(a, ag_sum(b)));
    char *text = drawn(t);
    assert_true(line_has(line_of(text, "scalar_input"), "adjoint 4"));
    assert_true(line_has(line_of(text, "tensor_input"), "(2, 3)"));
    assert_true(line_has(line_of(text, "tensor_input"), "adjoint 3, 7, 11, 3"));
    assert_true(line_has(line_of(text, "tensor_constant"), "(3, 2)"));
    assert_true(line_has(line_of(text, "matrix"), "adjoint 1, 1, 1, 1"));
    assert_false(line_has(line_of(text, "tensor_constant"), "adjoint"));
    assert_false(line_has(line_of(text, "scalar_constant"), "adjoint"));
    free(text);
    ag_tape_free(t);
}

static void failing_files(void **unused) {
    (void)unused;
    ag_tape *t = ag_tape_new(AG_F64);
    (void)record_example(t);
    assert_false(ag_dot(t, NULL));
    ag_tape_summary(t, NULL);
    FILE *full = fopen("/dev/full", "w");
    if (full) {
        setvbuf(full, NULL, _IONBF, 0);
        assert_false(ag_dot(t, full));
        fclose(full);
    }
    FILE *null = fopen("/dev/null", "w");
    assert_non_null(null);
    assert_true(ag_dot(t, null));
    fclose(null);
    check_fine("drawing", t);
    ag_tape_free(t);
}

/* The number in a column of the line that starts with a word; -1 if there is none. */
static long long counted(const char *text, const char *name, bool tensor) {
    char kind[32];
    long long n = -1;
    for (const char *line = text; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
        size_t length = strlen(name);
        if (strncmp(line, name, length) != 0 || line[length] != ' ') continue;
        if (sscanf(line + length, " tensor %lld", &n) == 1) {
            if (tensor) return n;
        } else if (!tensor && sscanf(line + length, " %lld %31s", &n, kind) >= 1) {
            return n;
        }
    }
    return -1;
}

static void summary(void **unused) {
    (void)unused;
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var x = ag_input(t, 0.5), v = ag_tensor(t, NULL, AG_SHAPE(10));
    for (int i = 0; i < 7; i++) x = ag_sin(x);
    for (int i = 0; i < 3; i++) v = ag_sin(v);
    (void)ag_mul(ag_sum(v), x);
    char *text = summarised(t);
    assert_int_equal(counted(text, "sin", false), 7);
    assert_int_equal(counted(text, "sin", true), 3);
    assert_int_equal(counted(text, "sum", true), 1);
    assert_int_equal(counted(text, "mul", false), 1);
    assert_int_equal(counted(text, "cos", false), -1);
    check_contains(text, (const char *[]){"instructions", "slots", "bytes", "12", NULL});
    free(text);
    ag_fail(t, AG_ERR_VALUE, "something of the user's own");
    text = summarised(t);
    check_contains(text, (const char *[]){"something of the user's own", "sin", NULL});
    free(text);
    ag_tape_free(t);
}

static const char *const STRUCTURAL[] = {"sum",         "prod",        "norm",   "logsumexp",     "cumsum",
                                         "softmax",     "log_softmax", "matmul", "cross_entropy", "gather",
                                         "scatter_add", "tril",        "triu",   "solve",         "cholesky",
                                         "inverse",     "det",         "logdet", "assemble",      NULL};

static void record_structural(ag_tape *t, ag_var v) {
    const int64_t labels[2] = {0, 1};
    const ag_axes first = AG_AXES(0);
    ag_var good = ag_add(v, ag_eye(t, 2));
    const ag_var all[] = {ag_sum(v),
                          ag_prod(v),
                          ag_norm(v),
                          ag_logsumexp(v),
                          ag_cumsum(v, 0),
                          ag_softmax(v, 0),
                          ag_log_softmax(v, 0),
                          ag_matmul(v, v),
                          ag_cross_entropy(v, labels),
                          ag_gather(v, 0, labels, 2),
                          ag_scatter_add(v, 0, labels, 2),
                          ag_max_over(v, first, false),
                          ag_min_over(v, first, false),
                          ag_tril(v, 0),
                          ag_triu(v, 0),
                          ag_solve(good, v),
                          ag_cholesky(good),
                          ag_inverse(good),
                          ag_det(good),
                          ag_logdet(good),
                          ag_pad(v, 0, 1, 1)};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) assert_false(ag_is_inert(all[i]));
}

/* Operations of the user's own: more kinds than any table of a fixed length has room for. */
enum { OWN = 40 };

static bool own_shape(ag_call *c) {
    c->shape = (ag_shape){0};
    return true;
}
static bool own_function(const ag_call *c) {
    *(double *)c->out.data = 0;
    return true;
}

static void record_own(ag_var v, ag_operation own[OWN], char names[OWN][16]) {
    for (int i = 0; i < OWN; i++) {
        snprintf(names[i], sizeof names[i], "own%d", i);
        own[i] = (ag_operation){.name = names[i], .shape = own_shape, .forward = own_function, .adjoint = own_function};
        (void)ag_apply(&own[i], &v, 1, NULL, 0);
    }
}

/* Every operation, as scalar and as tensor, has its line. */
static void summary_of_everything(void **unused) {
    (void)unused;
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var x = ag_input(t, 0.5), v = ag_tensor(t, NULL, AG_SHAPE(2, 2));
    for (int op = 0; op < AG_OPCODES; op++) {
        for (int tensor = 0; tensor < 2; tensor++) {
            ag_var y = tensor ? v : x;
            if (ag_op_table[op].arity == 1) (void)ag_apply1_((ag_opcode)op, y);
            else if (ag_op_table[op].arity == 2) (void)ag_apply2_((ag_opcode)op, y, y);
            else (void)ag_apply3_((ag_opcode)op, y, y, y);
        }
    }
    ag_operation own[OWN];
    char names[OWN][16];
    record_structural(t, v);
    record_own(v, own, names);
    check_fine("everything", t);
    char *text = summarised(t);
    ag_stats s = ag_tape_stats(t);
    long long sum = 0;
    for (int op = 0; op < AG_OPCODES; op++) {
        for (int tensor = 0; tensor < 2; tensor++) {
            long long n = counted(text, ag_op_table[op].name, tensor);
            if (n < 1) fail_msg("%s is not in the summary, or not as often as recorded", ag_op_table[op].name);
            sum += n;
        }
    }
    for (const char *const *name = STRUCTURAL; *name; name++) {
        long long n = counted(text, *name, true);
        if (n < 1) fail_msg("%s is not in the summary", *name);
        sum += n;
    }
    for (int i = 0; i < OWN; i++) {
        if (counted(text, names[i], true) != 1) fail_msg("%s is not in the summary", names[i]);
        sum++;
    }
    assert_int_equal(sum, s.scalar_instructions + s.tensor_instructions);
    free(text);
    ag_tape_free(t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(graph),
        cmocka_unit_test(graphs_are_reproducible),
        cmocka_unit_test(graphs_of_all_kinds),
        cmocka_unit_test(leaves_in_graphs),
        cmocka_unit_test(failing_files),
        cmocka_unit_test(summary),
        cmocka_unit_test(summary_of_everything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
