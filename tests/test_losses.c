/* Losses: values and derivatives by PyTorch, derivatives of any order, labels as data, wrong shapes. */
#include "torch_reference.h"

/* ---- against PyTorch --------------------------------------------------------------------------------------------- */

enum { MOST = 3 };

typedef struct loss_case {
    const char *name;
    const char *inputs; /* names of one letter */
    ag_var (*loss)(ag_tape *t, const char *name, const ag_var *x);
} loss_case;

static ag_var mse(ag_tape *t, const char *name, const ag_var *x) { return (void)t, (void)name, nn_mse(x[0], x[1]); }
static ag_var mae(ag_tape *t, const char *name, const ag_var *x) { return (void)t, (void)name, nn_mae(x[0], x[1]); }
static ag_var huber(ag_tape *t, const char *name, const ag_var *x) {
    return (void)t, (void)name, nn_huber(x[0], x[1], 0.7);
}
static ag_var smooth_l1(ag_tape *t, const char *name, const ag_var *x) {
    return (void)t, (void)name, nn_smooth_l1(x[0], x[1], 0.7);
}
static ag_var kl(ag_tape *t, const char *name, const ag_var *x) {
    return (void)t, (void)name, nn_kl(ag_log_softmax(x[0], 1), ag_softmax(x[1], 1));
}
static ag_var soft(ag_tape *t, const char *name, const ag_var *x) {
    return (void)t, (void)name, nn_softmax_cross_entropy_soft(x[0], ag_softmax(x[1], 1));
}
static ag_var bce(ag_tape *t, const char *name, const ag_var *x) {
    return nn_bce_logits(x[0], reference_constant(t, name, "y"));
}
static ag_var bce_weighted(ag_tape *t, const char *name, const ag_var *x) {
    return nn_bce_logits_weighted(x[0], reference_constant(t, name, "y"), reference_constant(t, name, "positive"));
}
static ag_var hinge(ag_tape *t, const char *name, const ag_var *x) {
    return nn_hinge(ag_mul(2, x[0]), reference_constant(t, name, "y"));
}
static ag_var cosine(ag_tape *t, const char *name, const ag_var *x) {
    return nn_cosine_embedding(x[0], x[1], reference_constant(t, name, "t"), -0.2);
}
static ag_var triplet(ag_tape *t, const char *name, const ag_var *x) {
    return (void)t, (void)name, nn_triplet(x[0], x[1], x[2], 0.4);
}
static ag_var contrastive(ag_tape *t, const char *name, const ag_var *x) {
    return nn_contrastive(x[0], x[1], reference_constant(t, name, "t"), 1.9);
}

static const loss_case cases[] = {
    {"mse", "xy", mse},
    {"mae", "xy", mae},
    {"huber", "xy", huber},
    {"smooth_l1", "xy", smooth_l1},
    {"kl", "xy", kl},
    {"soft", "xy", soft},
    {"bce", "x", bce},
    {"bce_weighted", "x", bce_weighted},
    {"hinge", "x", hinge},
    {"cosine_embedding", "xy", cosine},
    {"triplet", "xyz", triplet},
    {"contrastive", "xy", contrastive},
};
enum { CASES = (int)(sizeof cases / sizeof cases[0]) };

static int inputs_of(ag_tape *t, const loss_case *c, ag_var *x) {
    int n = (int)strlen(c->inputs);
    for (int k = 0; k < n; k++) x[k] = reference_input(t, c->name, (const char[]){c->inputs[k], 0});
    return n;
}

static void agree_with_pytorch(ag_tape *t) {
    for (int i = 0; i < CASES; i++) {
        ag_var x[MOST];
        int n = inputs_of(t, &cases[i], x);
        sweep_reference(cases[i].name, cases[i].loss(t, cases[i].name, x));
        for (int k = 0; k < n; k++) check_gradient(cases[i].name, (const char[]){cases[i].inputs[k], 0}, x[k]);
    }
}

static void losses_agree_with_pytorch(void **state) {
    (void)state;
    on_each_tape(agree_with_pytorch);
}

static ag_var recorded(ag_tape *t, const ag_var *x, int n, void *context) {
    const loss_case *c = context;
    (void)n;
    return c->loss(t, c->name, x);
}

static void losses_have_derivatives_of_any_order(void **state) {
    (void)state;
    for (int i = 0; i < CASES; i++) {
        loss_case c = cases[i];
        ag_tape *t = ag_tape_new(AG_F64);
        ag_var x[MOST];
        int n = inputs_of(t, &c, x);
        check_derivatives(c.name, recorded, &c, x, n);
        ag_tape_free(t);
    }
}

/* ---- labels ------------------------------------------------------------------------------------------------------ */

static const struct {
    const char *name;
    bool weights, ignore;
    int64_t ignored;
    double smoothing;
} label_cases[] = {{"plain", false, false, 0, 0},       {"weights", true, false, 0, 0},
                   {"smoothing", false, false, 0, 0.2}, {"ignored", false, true, -100, 0},
                   {"ignored_0", false, true, 0, 0},    {"all", true, true, -100, 0.3}};
enum { LABEL_CASES = (int)(sizeof label_cases / sizeof label_cases[0]) };

static void read_labels(const char *name, int64_t *labels) {
    const reference_array *a = reference(name, "labels");
    for (int64_t i = 0; i < a->count; i++) labels[i] = (int64_t)a->data[i];
}

static nn_class_options options_of(ag_tape *t, const char *name, int i) {
    nn_class_options o = {
        .smoothing = label_cases[i].smoothing, .ignore = label_cases[i].ignore, .ignored = label_cases[i].ignored};
    if (label_cases[i].weights) o.weights = reference_constant(t, name, "weights");
    return o;
}

static void check_loss(const char *name, ag_var x, ag_var loss) {
    sweep_reference(name, loss);
    check_gradient(name, "x", x);
}

static void labels_agree_with_pytorch(ag_tape *t) {
    for (int i = 0; i < LABEL_CASES; i++) {
        char name[REFERENCE_NAME];
        int64_t labels[6];
        snprintf(name, sizeof name, "cross_entropy_%s", label_cases[i].name);
        nn_class_options o = options_of(t, name, i);
        ag_var x = reference_input(t, name, "x"), at = reference_constant(t, name, "labels");
        read_labels(name, labels);
        check_loss(name, x, nn_softmax_cross_entropy_with(x, labels, 6, o));
        check_loss(name, x, nn_softmax_cross_entropy_at(x, at, o));
        if (i == 0) check_loss(name, x, nn_softmax_cross_entropy(x, labels, 6));
        if (label_cases[i].smoothing > 0) continue;
        snprintf(name, sizeof name, "nll_%s", label_cases[i].name);
        x = reference_input(t, name, "x");
        check_loss(name, x, nn_nll(ag_log_softmax(x, 1), labels, 6, o));
        check_loss(name, x, nn_nll_at(ag_log_softmax(x, 1), at, o));
    }
    int64_t labels[6];
    ag_var x = reference_input(t, "cross_entropy_rows", "x"),
           at = reference_constant(t, "cross_entropy_rows", "labels");
    read_labels("cross_entropy_rows", labels);
    check_loss("cross_entropy_rows", x, nn_softmax_cross_entropy(x, labels, 6));
    check_loss("cross_entropy_rows", x, nn_softmax_cross_entropy_with(x, labels, 6, (nn_class_options){0}));
    check_loss("cross_entropy_rows", x, nn_softmax_cross_entropy_at(x, at, (nn_class_options){0}));
}

static void labels_on_each_tape(void **state) {
    (void)state;
    on_each_tape(labels_agree_with_pytorch);
}

/* Targets that may be one of two numbers are an input of a program, too, have a derivative, and can be printed. */
static void two_targets_are_data_of_a_program(void **state) {
    (void)state;
    ag_tape *t = ag_tape_new(AG_F64);
    const double scores[] = {1, 2, -3, 0.5}, targets[] = {1, -1, 1, -1}, others[] = {-1, -1, -1, -1};
    const double want[] = {0, -0.5, 0.75, -0.125}, bad[] = {1, -1, 1, 0};
    ag_var in[] = {ag_tensor(t, scores, AG_SHAPE(4)), ag_tensor(t, targets, AG_SHAPE(4))};
    ag_var loss = nn_hinge(in[0], in[1]);
    ag_backward(loss);
    double grad[4], got = 0;
    ag_read_grad(in[1], grad);
    check_numbers("targets", "derivative", grad, want, 4, 0);
    ag_program *p = ag_program_freeze(in, NULL, 2, &loss, NULL, 1), *g = ag_program_gradient(p, NULL, 0);
    ag_runner *r = ag_runner_new(g);
    double *const out[] = {&got, NULL, grad};
    assert_int_equal(ag_run(r, (const double *const[]){scores, targets}, out), AG_OK);
    check_number("loss", got, ag_value(loss));
    check_numbers("targets", "derivative", grad, want, 4, 0);
    assert_int_equal(ag_run(r, (const double *const[]){scores, others}, out), AG_OK);
    check_number("loss", got, 1.625);
    assert_int_equal(ag_run(r, (const double *const[]){scores, bad}, out), AG_ERR_VALUE);
    assert_string_equal(ag_runner_message(r), "hinge: target 3 is 0, not -1 or 1");
    FILE *printed = tmpfile();
    assert_int_equal(ag_program_print_c(p, "hinge", NULL, printed).status, AG_OK);
    assert_int_equal(fclose(printed), 0);
    ag_runner_free(r);
    ag_program_free(p);
    ag_program_free(g);
    ag_tape_free(t);
}

/* ---- losses that check their targets, recorded without examples ---------------------------------------------------- */

static void trace_hinge(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    (void)t, (void)context;
    y[0] = nn_hinge(x[0], x[1]);
}
static void trace_cosine(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    (void)t, (void)context;
    ag_var v = ag_unsqueeze(x[0], 1);
    y[0] = nn_cosine_embedding(v, ag_sin(v), x[1], 0);
}
static void trace_contrastive(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    (void)t, (void)context;
    ag_var v = ag_unsqueeze(x[0], 1);
    y[0] = nn_contrastive(v, ag_sin(v), x[1], 1);
}
static void trace_labels(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    (void)t, (void)context;
    y[0] = nn_softmax_cross_entropy_at(ag_outer(x[0], ag_expand(ag_at(x[0], 0), AG_SHAPE(2))), x[1],
                                       (nn_class_options){0});
}
static void trace_nll(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    (void)t, (void)context;
    y[0] = nn_nll_at(ag_outer(x[0], ag_expand(ag_at(x[0], 0), AG_SHAPE(2))), x[1], (nn_class_options){0});
}

/* 0 for a target of 1, -2 for one of 3: no class, and not the label that is ignored. */
static ag_var negative(ag_var target) { return ag_sub(1, target); }
static void trace_negative_labels(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    (void)t, (void)context;
    y[0] = nn_softmax_cross_entropy_at(ag_outer(x[0], x[0]), negative(x[1]), (nn_class_options){0});
}
static void trace_ignored_labels(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    (void)t, (void)context;
    nn_class_options options = {.ignore = true, .ignored = -100};
    y[0] = nn_softmax_cross_entropy_at(ag_outer(x[0], x[0]), negative(x[1]), options);
}
static void trace_negative_nll(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    (void)t, (void)context;
    y[0] = nn_nll_at(ag_outer(x[0], x[0]), negative(x[1]), (nn_class_options){0});
}

static const struct {
    ag_model model;
    const char *message;
} checked[] = {{trace_hinge, "hinge: target 2 is 3, not -1 or 1"},
               {trace_cosine, "cosine_embedding: target 2 is 3, not -1 or 1"},
               {trace_contrastive, "contrastive: target 2 is 3, not 0 or 1"},
               {trace_labels, "cross_entropy_at: label 3 of row 2"},
               {trace_nll, "gather_at: index 3 at position 2"},
               {trace_negative_labels, "gather_at: index -2 at position 2"},
               {trace_ignored_labels, "gather_at: index -2 at position 2"},
               {trace_negative_nll, "gather_at: index -2 at position 2"}};
enum { CHECKED = sizeof checked / sizeof *checked };

/* Each run checks its targets. Frees the program. */
static void check_runs(ag_program *p, int k) {
    const double x[] = {1, 2, -3}, good[] = {1, 1, 1}, bad[] = {1, 1, 3};
    double loss, gradient[3];
    if (ag_program_status(p) != AG_OK) fail_msg("%s", ag_program_message(p));
    ag_program *g = ag_program_gradient(p, (int[]){1, 0}, 1);
    ag_runner *r = ag_runner_new(g);
    double *const out[] = {&loss, gradient};
    assert_int_equal(ag_run(r, (const double *const[]){x, good}, out), AG_OK);
    assert_true(isfinite(loss));
    assert_int_equal(ag_run(r, (const double *const[]){x, bad}, out), AG_ERR_VALUE);
    if (strstr(ag_runner_message(r), checked[k].message) == NULL) fail_msg("%s", ag_runner_message(r));
    assert_int_equal(ag_run(r, (const double *const[]){x, good}, out), AG_OK);
    ag_runner_free(r);
    ag_program_free(g);
    ag_program_free(p);
}

static void targets_are_checked_in_each_run(void **state) {
    const ag_port in[] = {ag_in("x", AG_SHAPE(3)), ag_in("targets", AG_SHAPE(3))};
    (void)state;
    for (int k = 0; k < CHECKED; k++) check_runs(ag_program_trace(AG_F64, checked[k].model, NULL, in, 2, NULL, 1), k);
}

static void targets_are_checked_in_programs_from_files(void **state) {
    const ag_port in[] = {ag_in("x", AG_SHAPE(3)), ag_in("targets", AG_SHAPE(3))};
    (void)state;
    for (int k = 0; k < CHECKED; k++) {
        ag_program *p = ag_program_trace(AG_F64, checked[k].model, NULL, in, 2, NULL, 1);
        FILE *file = tmpfile();
        assert_int_equal(ag_program_save(p, file), AG_OK);
        rewind(file);
        check_runs(ag_program_load(file, nn_operations, NN_OPERATIONS), k);
        ag_program_free(p);
        assert_int_equal(fclose(file), 0);
    }
}

/* Printed C refuses labels that are no class, below 0 or not. */
static void printed_losses_check_labels(void **state) {
    const ag_port in[] = {ag_in("x", AG_SHAPE(3)), ag_in("targets", AG_SHAPE(3))};
    const ag_model models[] = {trace_negative_labels, trace_ignored_labels, trace_negative_nll};
    (void)state;
    for (int k = 0; k < 3; k++) {
        static char text[1 << 16];
        ag_program *p = ag_program_trace(AG_F64, models[k], NULL, in, 2, NULL, 1);
        FILE *file = tmpfile();
        assert_int_equal(ag_program_print_c(p, "loss", NULL, file).status, AG_OK);
        rewind(file);
        text[fread(text, 1, sizeof text - 1, file)] = '\0';
        if (strstr(text, "gather_at: ") == NULL) fail_msg("%s", text);
        ag_program_free(p);
        assert_int_equal(fclose(file), 0);
    }
}

/* Labels are an input of the program, and other ones give another loss. */
static void labels_are_data_of_a_program(void **state) {
    ag_tape *t = ag_tape_new(AG_F64);
    const int64_t other[] = {0, 2, 2};
    const double first[] = {1, 1, 0}, second[] = {0, 2, 2};
    (void)state;
    ag_var x = random_tensor(t, AG_SHAPE(3, 3), -2, 2), labels = ag_tensor(t, first, AG_SHAPE(3));
    const ag_var in[] = {x, labels};
    ag_var loss = nn_softmax_cross_entropy_at(x, labels, (nn_class_options){.smoothing = 0.1});
    ag_var want = nn_softmax_cross_entropy_with(x, other, 3, (nn_class_options){.smoothing = 0.1});
    ag_program *p = ag_program_freeze(in, NULL, 2, &loss, NULL, 1);
    ag_runner *r = ag_runner_new(p);
    double values[9], got = 0;
    ag_read(x, values);
    assert_int_equal(ag_run(r, (const double *const[]){values, second}, (double *const[]){&got}), AG_OK);
    check_number("loss", got, ag_value(want));
    assert_true(fabs(got - ag_value(loss)) > 1e-3);
    ag_runner_free(r);
    ag_program_free(p);
    ag_tape_free(t);
}

/* A probability of 0 that the target does not ask for costs nothing. */
static void impossible_classes_are_no_nan(void **state) {
    ag_tape *t = ag_tape_new(AG_F64);
    (void)state;
    ag_var x = ag_tensor(t, (const double[]){0, -INFINITY}, AG_SHAPE(1, 2));
    ag_var nll = nn_nll(x, (const int64_t[]){0}, 1, (nn_class_options){0});
    assert_true(ag_value(nll) == 0);
    ag_backward(nll);
    check_grads("nll", x, (const double[]){-1, 0});
    ag_var kl_loss = nn_kl(x, ag_constant_tensor(t, (const double[]){1, 0}, AG_SHAPE(1, 2)));
    assert_true(ag_value(kl_loss) == 0);
    ag_backward(kl_loss);
    check_grads("kl", x, (const double[]){-1, 0});
    check_fine("losses", t);
    ag_tape_free(t);
}

/* ---- misuse ------------------------------------------------------------------------------------------------------ */

static ag_var misuse(ag_tape *t, int i) {
    static const int64_t labels[] = {0, 5, 1}, below[] = {0, 1, -1};
    ag_var column = ag_zeros(t, AG_SHAPE(4, 1)), four = ag_zeros(t, AG_SHAPE(4)), z = ag_zeros(t, AG_SHAPE(3, 2));
    nn_class_options weights = {.weights = four}, smoothing = {.smoothing = 1.5}, none = {0};
    switch (i) {
    case 0: return nn_mse(column, four);
    case 1: return nn_mae(column, four);
    case 2: return nn_huber(column, four, 1);
    case 3: return nn_huber(four, four, 0);
    case 4: return nn_smooth_l1(four, four, NAN);
    case 5: return nn_bce_logits_weighted(four, column, ag_num(2));
    case 6: return nn_bce_logits_weighted(four, four, column);
    case 7: return nn_hinge(column, four);
    case 8: return nn_kl(column, four);
    case 9: return nn_softmax_cross_entropy_with(z, labels, 3, none);
    case 10: return nn_softmax_cross_entropy_with(z, labels, 2, none);
    case 11: return nn_softmax_cross_entropy_with(z, NULL, 3, none);
    case 12: return nn_softmax_cross_entropy_at(z, ag_zeros(t, AG_SHAPE(3)), weights);
    case 13: return nn_softmax_cross_entropy_at(z, ag_zeros(t, AG_SHAPE(3)), smoothing);
    case 14: return nn_softmax_cross_entropy_at(z, ag_zeros(t, AG_SHAPE(3, 1)), none);
    case 15: return nn_nll(z, labels, 3, none);
    case 39: return nn_softmax_cross_entropy_with(z, below, 3, none);
    case 40: return nn_nll(z, below, 3, (nn_class_options){.ignore = true, .ignored = -100});
    case 41: return nn_softmax_cross_entropy_at(z, ag_neg(ag_arange(t, 0, 1, 3)), none);
    case 42: return nn_nll_at(z, ag_neg(ag_arange(t, 0, 1, 3)), none);
    case 43: return nn_softmax_cross_entropy(z, below, 3);
    case 20: return nn_nll_at(z, ag_full(t, 2, AG_SHAPE(3)), none);
    case 21: return nn_softmax_cross_entropy_at(z, ag_full(t, 2, AG_SHAPE(3)), none);
    case 22: return nn_softmax_cross_entropy_at(z, ag_full(t, 0.5, AG_SHAPE(3)), none);
    case 16: return nn_cosine_embedding(z, column, four, 0);
    case 17: return nn_cosine_embedding(z, z, column, 0);
    case 18: return nn_triplet(z, z, column, 1);
    case 19: return nn_contrastive(z, z, four, 1);
    case 23: return nn_nll_at(z, ag_zeros(t, AG_SHAPE(3)), (nn_class_options){.smoothing = 0.1});
    case 24: return nn_nll(ag_zeros(t, AG_SHAPE(1, 2)), labels, 1, (nn_class_options){.smoothing = -1});
    case 25: return nn_hinge(four, four);
    case 26: return nn_hinge(four, ag_slice(ag_arange(t, -3, 1, 8), 0, 2, 6, 1));
    case 27: return nn_contrastive(z, z, ag_arange(t, 0, 0.5, 3), 1);
    case 28: return nn_contrastive(z, z, ag_full(t, -1, AG_SHAPE(3)), 1);
    case 29: return nn_cosine_embedding(z, z, ag_arange(t, -1, 1, 3), 0);
    case 30: return nn_nll_at(z, ag_full(t, -INFINITY, AG_SHAPE(3)), none);
    case 31: return nn_nll_at(z, ag_full(t, -0.5, AG_SHAPE(3)), none);
    case 32: return nn_nll_at(z, ag_full(t, 0.5, AG_SHAPE(3)), (nn_class_options){.ignore = true, .ignored = 1});
    case 33: return nn_softmax_cross_entropy_at(z, ag_full(t, -INFINITY, AG_SHAPE(3)), none);
    case 34: return nn_nll_at(z, ag_full(t, NAN, AG_SHAPE(3)), none);
    case 36: return nn_hinge(four, ag_num(0.5));
    case 37: return nn_cosine_embedding(z, z, ag_num(NAN), 0);
    case 38: return nn_contrastive(z, z, ag_num(-1), 1);
    default: return nn_contrastive(ag_input(t, 1), ag_input(t, 2), ag_num(1), 1);
    }
}

static void misuse_is_an_error(void **state) {
    static const char *const parts[] = {
        "mse: predictions have shape (4, 1), targets (4)",
        "mae: predictions have shape (4, 1), targets (4)",
        "huber: predictions have shape (4, 1), targets (4)",
        "huber: delta is 0, not above 0",
        "smooth_l1: delta is nan, not above 0",
        "bce_logits: predictions have shape (4), targets (4, 1)",
        "bce_logits: logits have shape (4), weights of positives (4, 1)",
        "hinge: predictions have shape (4, 1), targets (4)",
        "kl: predictions have shape (4, 1), targets (4)",
        "softmax_cross_entropy: label 1 is 5, not 0 to 1",
        "softmax_cross_entropy: logits have shape (3, 2); for 2 labels it is (2, classes)",
        "softmax_cross_entropy: no labels",
        "softmax_cross_entropy: logits have shape (3, 2), weights of classes (4)",
        "softmax_cross_entropy: smoothing is 1.5, not 0 to 1",
        "softmax_cross_entropy: labels of shape (3, 1) do not go with shape (3, 2)",
        "nll: label 1 is 5, not 0 to 1",
        "cosine_embedding: predictions have shape (3, 2), targets (4, 1)",
        "cosine_embedding: targets of shape (4, 1) do not go with shape (3, 2)",
        "triplet: predictions have shape (3, 2), targets (4, 1)",
        "contrastive: targets of shape (4) do not go with shape (3, 2)",
        "gather_at",
        "cross_entropy_at",
        "cross_entropy_at",
        "nll: smoothing is 0.1; it has none",
        "nll: smoothing is -1; it has none",
        "hinge: target 0 is 0, not -1 or 1",
        "hinge: target 1 is 0, not -1 or 1",
        "contrastive: target 1 is 0.5, not 0 or 1",
        "contrastive: target 0 is -1, not 0 or 1",
        "cosine_embedding: target 1 is 0, not -1 or 1",
        "gather_at: index -inf",
        "gather_at: index -0.5",
        "gather_at: index 0.5",
        "cross_entropy_at: label -inf",
        "gather_at: index nan",
        "contrastive: targets of shape () do not go with shape ()",
        "hinge: target 0 is 0.5, not -1 or 1",
        "cosine_embedding: target 0 is nan, not -1 or 1",
        "contrastive: target 0 is -1, not 0 or 1",
        "softmax_cross_entropy: label 2 is -1, not 0 to 1",
        "nll: label 2 is -1, not 0 to 1",
        "gather_at: index -1 at position 1",
        "gather_at: index -1 at position 1",
        "cross_entropy: label -1 of row 2",
    };
    (void)state;
    for (int i = 0; i < (int)(sizeof parts / sizeof parts[0]); i++) {
        ag_tape *t = ag_tape_new(AG_F64);
        assert_true(ag_is_inert(misuse(t, i)));
        if (strstr(ag_tape_message(t), parts[i]) == NULL)
            fail_msg("\"%s\", should be \"%s\"", ag_tape_message(t), parts[i]);
        ag_tape_free(t);
    }
}

static bool permit(void *context, size_t bytes) {
    int *left = context;
    (void)bytes;
    return --*left >= 0;
}

static void every_request_of_the_tape_may_be_refused(void **state) {
    (void)state;
    for (int i = 0; i < CASES; i++) {
        bool done = false;
        for (int n = 0; !done; n++) {
            int left = n;
            ag_var x[MOST];
            ag_tape *t = ag_tape_new_with(&(ag_options){.permit = permit, .context = &left, .no_reserve = true});
            inputs_of(t, &cases[i], x);
            ag_backward(cases[i].loss(t, cases[i].name, x));
            done = left >= 0;
            if (done) check_fine("loss", t);
            else if (ag_tape_status(t) != AG_OK) assert_int_equal(ag_tape_status(t), AG_ERR_MEMORY);
            assert_true(n < 500);
            ag_tape_free(t);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(losses_agree_with_pytorch),
        cmocka_unit_test(losses_have_derivatives_of_any_order),
        cmocka_unit_test(labels_on_each_tape),
        cmocka_unit_test(two_targets_are_data_of_a_program),
        cmocka_unit_test(targets_are_checked_in_each_run),
        cmocka_unit_test(targets_are_checked_in_programs_from_files),
        cmocka_unit_test(labels_are_data_of_a_program),
        cmocka_unit_test(printed_losses_check_labels),
        cmocka_unit_test(impossible_classes_are_no_nan),
        cmocka_unit_test(misuse_is_an_error),
        cmocka_unit_test(every_request_of_the_tape_may_be_refused),
    };
    read_references(TORCH_FOLDER "/losses.ref");
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    free_references();
    return failed;
}
