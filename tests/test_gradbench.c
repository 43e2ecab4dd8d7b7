/* The tool for GradBench, through its protocol: each function of each module at a small size against plain C and central
 * differences of it (gradbench_models.h), the timings, and what is no proper message or input. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "gradbench_models.h"

#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- the tool ---- */

static struct {
    pid_t pid;
    FILE *in, *out; /* its input, its output */
    int id;
} tool;

static int start_tool(void **state) {
    (void)state;
    int in[2], out[2];
    if (pipe(in) || pipe(out)) return -1;
    tool.pid = fork();
    if (tool.pid == 0) {
        dup2(in[0], 0);
        dup2(out[1], 1);
        for (int i = 0; i < 2; i++) {
            close(in[i]);
            close(out[i]);
        }
        execl(GRADBENCH_TOOL, GRADBENCH_TOOL, (char *)NULL);
        _exit(127);
    }
    close(in[0]);
    close(out[1]);
    tool.in = fdopen(in[1], "w");
    tool.out = fdopen(out[0], "r");
    return tool.pid > 0 && tool.in && tool.out ? 0 : -1;
}

/* At the end of its input the tool ends well. */
static int stop_tool(void **state) {
    (void)state;
    int status = -1;
    fclose(tool.in);
    waitpid(tool.pid, &status, 0);
    fclose(tool.out);
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -1;
}

/* The answer to a line, which has to be one JSON object. */
static json_t *ask_line(const char *line) {
    char *text = NULL;
    size_t size = 0;
    fprintf(tool.in, "%s\n", line);
    fflush(tool.in);
    if (getline(&text, &size, tool.out) < 0) fail_msg("no answer to %s", line);
    json_t *answer = json_loads(text, 0, NULL);
    if (!json_is_object(answer)) fail_msg("not a JSON object: %s", text);
    free(text);
    return answer;
}

/* The answer to a message, whose id is added; takes the message. */
static json_t *ask(json_t *message) {
    json_object_set_new(message, "id", json_integer(++tool.id));
    char *line = json_dumps(message, JSON_COMPACT);
    json_t *answer = ask_line(line);
    assert_int_equal(json_integer_value(json_object_get(answer, "id")), tool.id);
    free(line);
    json_decref(message);
    return answer;
}

/* Takes the input. */
static json_t *evaluate(const char *module, const char *function, json_t *input) {
    return ask(
        json_pack("{s:s,s:s,s:s,s:o}", "kind", "evaluate", "module", module, "function", function, "input", input));
}

static bool succeeded(const json_t *answer) {
    const json_t *success = json_object_get(answer, "success"), *error = json_object_get(answer, "error");
    assert_true(json_is_boolean(success));
    assert_true(json_is_true(success) || (json_is_string(error) && json_string_length(error) > 0));
    return json_is_true(success);
}

/* ---- comparing ---- */

/* All numbers of a value, in order; of an object, in the order of `keys` (separated by spaces). */
static double *flatten(const json_t *value, const char *keys, double *out) {
    if (!value) return out;
    if (json_is_number(value)) {
        *out++ = json_number_value(value);
    } else if (json_is_array(value)) {
        for (size_t i = 0; i < json_array_size(value); i++) out = flatten(json_array_get(value, i), keys, out);
    } else {
        char list[100], *rest = NULL;
        snprintf(list, sizeof list, "%s", keys);
        for (char *key = strtok_r(list, " ", &rest); key; key = strtok_r(NULL, " ", &rest))
            out = flatten(json_object_get(value, key), keys, out);
    }
    return out;
}

static void check_numbers(const char *what, const double *got, const double *want, int n, double tolerance) {
    for (int i = 0; i < n; i++)
        if (!(fabs(got[i] - want[i]) <= tolerance * fmax(1, fabs(want[i]))))
            fail_msg("%s: number %d is %.15g, expected %.15g", what, i, got[i], want[i]);
}

/* The numbers of a function's output, n of them. */
static void outputs(const char *module, const char *function, json_t *input, const char *keys, double *out, int n) {
    json_t *answer = evaluate(module, function, input);
    if (!succeeded(answer))
        fail_msg("%s %s: %s", module, function, json_string_value(json_object_get(answer, "error")));
    assert_int_equal(flatten(json_object_get(answer, "output"), keys, out) - out, n);
    json_decref(answer);
}

/* dy / dx by central differences of fourth order: out[m][n]. */
static void differences(const model *m, double *out) {
    const double h = 2e-5, factor[4] = {1, -8, 8, -1}, at[4] = {-2, -1, 1, 2};
    double x[MOST_X], y[MOST_Y];
    memcpy(x, m->x, sizeof x);
    memset(out, 0, (size_t)(m->m * m->n) * sizeof *out);
    for (int j = 0; j < m->n; j++) {
        for (int k = 0; k < 4; k++) {
            x[j] = m->x[j] + at[k] * h;
            m->f(x, y);
            for (int i = 0; i < m->m; i++) out[i * m->n + j] += factor[k] * y[i] / (12 * h);
        }
        x[j] = m->x[j];
    }
}

/* ---- functions with a gradient ---- */

static const model gradients[] = {
    {"det", "primal", "gradient", 1, 1, det1, det1_input, {-2.5}},
    {"det",
     "primal",
     "gradient",
     16,
     1,
     det4,
     det4_input,
     {2, .3, -1, .5, .1, 3, .7, -.2, 1, -.6, 4, .9, .8, .2, -.3, 1.5}},
    {"llsq", "primal", "gradient", LLSQ_M, 1, llsq, llsq_input, {0.3, -1.2, 0.7}},
    {"lse", "primal", "gradient", LSE_N, 1, lse, lse_input, {-1, 2, 0.5, 2}},
    {"gmm", "objective", "jacobian", GMM_K *(1 + 2 * GMM_D + GMM_L), 1, gmm, gmm_input, {.3,  -.4, .1,  -.2,  .5,
                                                                                         1,   .7,  -.6, .2,   -.1,
                                                                                         .3,  -.3, .15, .05,  .4,
                                                                                         -.8, .9,  .25, -.35, .6}},
    {"lstm", "objective", "jacobian", LSTM_MAIN + 3 * LSTM_B, 1, lstm, lstm_input, {0}},
};

static void check_gradient(model m) {
    double y[MOST_Y], want[MOST_X], got[MOST_X];
    for (int j = 0; m.f == lstm && j < m.n; j++) m.x[j] = wave(j);
    m.f(m.x, y);
    outputs(m.module, m.primal, m.input(m.x), "", got, m.m);
    check_numbers(m.module, got, y, m.m, 1e-12);
    differences(&m, want);
    outputs(m.module, m.derivative, m.input(m.x), "alpha mu q l", got, m.n);
    check_numbers(m.module, got, want, m.n, 1e-8);
}

static void test_gradients(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof gradients / sizeof *gradients; i++) check_gradient(gradients[i]);
}

/* I + u v': its expansion would be 1.3 billion operations, if all of them were recorded. */
static void test_det_of_many_rows(void **state) {
    enum { ROWS = 12 };
    double u[ROWS], v[ROWS], a[ROWS * ROWS], want[ROWS * ROWS], got[ROWS * ROWS], det = 1;
    (void)state;
    for (int i = 0; i < ROWS; i++) {
        u[i] = wave(i);
        v[i] = wave(i + ROWS);
        det += u[i] * v[i];
    }
    for (int i = 0; i < ROWS * ROWS; i++) {
        int row = i / ROWS, column = i % ROWS;
        a[i] = (row == column) + u[row] * v[column];
        want[i] = (row == column ? det : 0) - v[row] * u[column];
    }
    outputs("det", "primal", det_input(a, ROWS), "", got, 1);
    check_numbers("det", got, &det, 1, 1e-13);
    outputs("det", "gradient", det_input(a, ROWS), "", got, ROWS * ROWS);
    check_numbers("det", got, want, ROWS * ROWS, 1e-13);
}

/* Sequences that are scanned piece by piece: without steps left over, and with some. */
static void test_long_lstm(void **state) {
    (void)state;
    for (lstm_c = LSTM_LONG; lstm_c > 2098; lstm_c -= 13)
        check_gradient((model){"lstm", "objective", "jacobian", LSTM_MAIN + 3 * LSTM_B, 1, lstm, lstm_input, {0}});
    lstm_c = 4;
}

static void test_lstm_with_more_layers_than_steps(void **state) {
    (void)state;
    lstm_c = 2;
    check_gradient((model){"lstm", "objective", "jacobian", LSTM_MAIN + 3 * LSTM_B, 1, lstm, lstm_input, {0}});
    lstm_c = 4;
}

static void test_lse_of_large_numbers(void **state) {
    (void)state;
    const double x[LSE_N] = {1000, 1000, -1000, 999}, sum = 2 + exp(-1),
                 want[LSE_N] = {1 / sum, 1 / sum, 0, exp(-1) / sum};
    double got[LSE_N];
    outputs("lse", "primal", lse_input(x), "", got, 1);
    check_numbers("lse", got, (double[]){1000 + log(sum)}, 1, 1e-14);
    outputs("lse", "gradient", lse_input(x), "", got, LSE_N);
    check_numbers("lse", got, want, LSE_N, 1e-12);
}

static void test_hello(void **state) {
    (void)state;
    double got;
    outputs("hello", "square", json_real(-1.5), "", &got, 1);
    assert_true(got == 2.25);
    outputs("hello", "double", json_integer(7), "", &got, 1);
    assert_true(got == 14);
}

/* The eval's gradient is that of the last element. */
static void test_ode(void **state) {
    (void)state;
    const model m = {"ode", "primal", "gradient", ODE_N, ODE_N, ode, ode_input, {0.4, 1.3, -0.8, 1.1}};
    double y[ODE_N], got[ODE_N], want[ODE_N * ODE_N];
    m.f(m.x, y);
    outputs("ode", "primal", ode_input(m.x), "", got, ODE_N);
    check_numbers("ode", got, y, ODE_N, 1e-13);
    differences(&m, want);
    outputs("ode", "gradient", ode_input(m.x), "", got, ODE_N);
    check_numbers("ode", got, want + (ODE_N - 1) * ODE_N, ODE_N, 1e-9);
}

static void test_kmeans(void **state) {
    (void)state;
    enum { N = KMEANS_K * KMEANS_D };
    const double x[N] = {0.2, -0.3, 0.1, 2.8, 3.3, 2.5};
    double want[N], got[N];
    kmeans(x, want);
    outputs("kmeans", "cost", kmeans_input(x), "", got, 1);
    check_numbers("kmeans cost", got, want, 1, 1e-13);
    kmeans_direction(x, want);
    outputs("kmeans", "dir", kmeans_input(x), "", got, N);
    check_numbers("kmeans dir", got, want, N, 1e-12);
}

/* ---- bundle adjustment: values of the first observation and the last weight; the whole pattern's beginning and end ---- */

static void check_ba(const model *m) {
    enum { SHOWN = 2 * BA_X };
    double y[3], want[3 * BA_X], got[3 * (SHOWN + 1)];
    m->f(m->x, y);
    outputs("ba", "objective", m->input(m->x), "reproj_error elements w_err element repeated", got, 5);
    /* each object is read by the same keys: 2 elements, repeated; element, repeated */
    const double objective[5] = {y[0], y[1], BA_OBSERVATIONS, y[2], BA_OBSERVATIONS};
    check_numbers("ba objective", got, objective, 5, 1e-12);

    differences(m, want);
    outputs("ba", "jacobian", m->input(m->x), "vals", got, SHOWN + 1);
    check_numbers("ba values", got, want, SHOWN, 1e-7);
    check_numbers("ba last value", got + SHOWN, (double[]){-2 * m->x[14]}, 1, 1e-13);

    const int points = 11 * BA_CAMERAS, weights = points + 3 * BA_POINTS;
    outputs("ba", "jacobian", m->input(m->x), "rows cols", got, BA_OBSERVATIONS * 3 + 2 + SHOWN + 1);
    for (int i = 0; i <= 2 * BA_OBSERVATIONS; i++) want[i] = BA_X * i;
    for (int i = 1; i <= BA_OBSERVATIONS; i++) want[2 * BA_OBSERVATIONS + i] = 2 * BA_OBSERVATIONS * BA_X + i;
    want[3 * BA_OBSERVATIONS + 1] = (2 * BA_X + 1) * BA_OBSERVATIONS;
    check_numbers("ba rows", got, want, 3 * BA_OBSERVATIONS + 2, 0);
    for (int i = 0; i < SHOWN; i++) {
        int k = i % BA_X;
        want[i] = k < 11 ? k : k < 14 ? points + k - 11 : weights;
    }
    want[SHOWN] = weights + BA_OBSERVATIONS - 1;
    check_numbers("ba columns", got + 3 * BA_OBSERVATIONS + 2, want, SHOWN + 1, 0);
}

static void test_ba(void **state) {
    (void)state;
    model m = {"ba", "objective", "jacobian", BA_X,
               3,    ba,          ba_input,   {.3, -.5, .2, 1, .5, -4, 2.5, .1, -.2, .05, -.01, .4, -.3, .7, .6}};
    check_ba(&m);
    memset(m.x, 0, 3 * sizeof *m.x); /* no rotation: the limit of the formula */
    check_ba(&m);
}

/* ---- hand tracking: columns are the two of a point's own us, then theta ---- */

static void check_ht(const model *m, bool complicated) {
    enum { Y = 3 * HT_POINTS };
    static double want[Y * MOST_X], jacobian[Y * (HT_THETA + 2)], got[Y * (HT_THETA + 2)];
    double y[Y], *next = jacobian;
    m->f(m->x, y);
    outputs("ht", "objective", m->input(m->x), "", got, Y);
    check_numbers("ht objective", got, y, Y, 1e-12);
    differences(m, want);
    for (int i = 0; i < Y; i++) {
        for (int k = 0; complicated && k < 2; k++) *next++ = want[i * m->n + HT_THETA + 2 * (i / 3) + k];
        for (int k = 0; k < HT_THETA; k++) *next++ = want[i * m->n + k];
    }
    outputs("ht", "jacobian", m->input(m->x), "", got, (int)(next - jacobian));
    check_numbers("ht jacobian", got, jacobian, (int)(next - jacobian), 1e-8);
}

static void test_ht(void **state) {
    (void)state;
    model simple = {"ht", "objective", "jacobian", HT_THETA, 3 * HT_POINTS, ht_simple, ht_simple_input, {0}};
    model complicated = {"ht",          "objective",    "jacobian",           HT_THETA + 2 * HT_POINTS,
                         3 * HT_POINTS, ht_complicated, ht_complicated_input, {0}};
    for (int i = 0; i < complicated.n; i++) simple.x[i] = complicated.x[i] = wave(i + 5);
    check_ht(&simple, false);
    check_ht(&complicated, true);
    memset(complicated.x, 0, 3 * sizeof *complicated.x); /* a rotation that counts as none */
    check_ht(&complicated, true);
}

/* ---- gradient descent, whose function has nested derivatives ---- */

/* The eval's descent to a minimum, with central differences. */
static void descend(double (*f)(const double *), double *x, int n) {
    double eta = 1e-5, value = f(x);
    for (int good = 0;;) {
        double g[2] = {0}, to[2], length = 0, move = 0;
        for (int i = 0; i < n; i++) {
            double h = 1e-5, at = x[i], up = (x[i] = at + h, f(x)), down = (x[i] = at - h, f(x));
            x[i] = at;
            g[i] = (up - down) / (2 * h);
            to[i] = at - eta * g[i];
            length += g[i] * g[i];
            move += eta * g[i] * eta * g[i];
        }
        if (sqrt(length) <= 1e-5) return;
        if (good == 10) {
            eta *= 2;
            good = 0;
            continue;
        }
        if (sqrt(move) <= 1e-5) return;
        if (f(to) < value) {
            value = f(to);
            memcpy(x, to, (size_t)n * sizeof *x);
            good++;
        } else {
            eta /= 2;
            good = 0;
        }
    }
}

/* The force in closed form. */
static double particle(const double *w) {
    double x = 0, y = 8, vx = 0.75, vy = 0;
    for (;;) {
        double ax = 0, ay = 0;
        for (int charge = 0; charge < 2; charge++) {
            double dx = x - 10, dy = y - (charge ? 10 - w[0] : 0), cube = pow(dx * dx + dy * dy, 1.5);
            ax += dx / cube;
            ay += dy / cube;
        }
        x += 0.1 * vx;
        y += 0.1 * vy;
        if (y <= 0) return pow(x - y / vy * vx, 2);
        vx += 0.1 * ax;
        vy += 0.1 * ay;
    }
}

static double bowl(const double *x) { return x[0] * x[0] + x[1] * x[1]; }

static const char *const modes[4] = {"ff", "fr", "rf", "rr"};

static void test_particle(void **state) {
    (void)state;
    const double starts[2] = {0, 0.6};
    for (int s = 0; s < 2; s++) {
        double want = starts[s], got;
        descend(particle, &want, 1);
        if (s == 0) assert_true(fabs(want - 0.2071918746486116) < 1e-6); /* GradBench's own answer */
        for (int i = s == 0 ? 0 : 3; i < 4; i++) {
            outputs("particle", modes[i], json_pack("{s:f}", "w", starts[s]), "", &got, 1);
            check_numbers(modes[i], &got, &want, 1, 1e-6);
        }
    }
}

/* The maximum by y is where y ends when it starts from the same place, and the bowl in x does not depend on it. */
static void test_saddle(void **state) {
    (void)state;
    const double starts[2][2] = {{1, 1}, {0.5, -2}};
    for (int s = 0; s < 2; s++) {
        double x[2] = {starts[s][0], starts[s][1]}, got[4];
        descend(bowl, x, 2);
        if (s == 0) assert_true(fabs(x[0] - 8.246324826140356e-06) < 1e-9); /* GradBench's own answer */
        for (int i = 0; i < 4; i++) {
            outputs("saddle", modes[i], json_pack("{s:[ff]}", "start", starts[s][0], starts[s][1]), "", got, 4);
            check_numbers(modes[i], got, x, 2, 1e-9);
            check_numbers(modes[i], got + 2, x, 2, 1e-9);
        }
    }
}

/* ---- the protocol ---- */

static void test_protocol(void **state) {
    (void)state;
    static const char *const modules[] = {"hello", "det", "llsq", "lse",    "ode",      "gmm",
                                          "ba",    "ht",  "lstm", "kmeans", "particle", "saddle"};
    json_t *answer = ask(json_pack("{s:s,s:s}", "kind", "start", "eval", "hello"));
    assert_string_equal(json_string_value(json_object_get(answer, "tool")), "autograd");
    json_decref(answer);
    for (size_t i = 0; i < sizeof modules / sizeof *modules; i++) {
        answer = ask(json_pack("{s:s,s:s}", "kind", "define", "module", modules[i]));
        assert_true(succeeded(answer));
        json_decref(answer);
    }
    answer = ask(json_pack("{s:s,s:i,s:b}", "kind", "analysis", "of", 1, "valid", 1));
    assert_null(json_object_get(answer, "success"));
    json_decref(answer);
}

static void check_timings(int min_runs, double min_seconds) {
    json_t *input = llsq_input(gradients[2].x);
    json_object_set_new(input, "min_runs", json_integer(min_runs));
    json_object_set_new(input, "min_seconds", json_real(min_seconds));
    json_t *answer = evaluate("llsq", "gradient", input), *timings = json_object_get(answer, "timings");
    int prepares = 0, runs = 0;
    double seconds = 0;
    for (size_t i = 0; i < json_array_size(timings); i++) {
        const json_t *timing = json_array_get(timings, i);
        json_int_t time = json_integer_value(json_object_get(timing, "nanoseconds"));
        bool prepare = strcmp(json_string_value(json_object_get(timing, "name")), "prepare") == 0;
        assert_true(time >= 0);
        if (prepare) prepares++;
        else runs++, seconds += 1e-9 * (double)time;
    }
    assert_int_equal(prepares, 1);
    assert_true(runs >= min_runs && seconds >= min_seconds);
    if (min_seconds == 0) assert_int_equal(runs, min_runs);
    json_decref(answer);
}

static void test_timings(void **state) {
    (void)state;
    check_timings(1, 0);
    check_timings(70, 0);
    check_timings(2, 0.02);
}

/* What is wrong with a message, and a part of what is said of it. */
static const struct {
    const char *line, *error;
} wrong[] = {
    {"{\"id\":1,", "not JSON"},
    {"hello", "not JSON"},
    {"[1, 2]", "a message is a JSON object"},
    {"7", "a message is a JSON object"},
    {"{\"id\":1}", "no string \"kind\""},
    {"{\"id\":1,\"kind\":3}", "no string \"kind\""},
    {"{\"id\":1,\"kind\":\"define\"}", "no string \"module\""},
    {"{\"id\":1,\"kind\":\"define\",\"module\":\"nil\"}", "no module \"nil\""},
    {"{\"id\":1,\"kind\":\"evaluate\",\"module\":\"det\",\"function\":\"cube\",\"input\":{}}", "no function \"cube\""},
    {"{\"id\":1,\"kind\":\"evaluate\",\"module\":\"det\",\"function\":\"primal\"}", "no \"input\""},
#define EVALUATE(module, function, input)                                                                              \
    "{\"id\":1,\"kind\":\"evaluate\",\"module\":\"" module "\",\"function\":\"" function "\",\"input\":" input "}"
    {EVALUATE("hello", "square", "[3]"), "expected a number"},
    {EVALUATE("hello", "square", "1e200"), "not finite"},
    {EVALUATE("det", "primal", "5"), "expected an object with \"ell\""},
    {EVALUATE("det", "primal", "{\"A\":[1,2,3],\"ell\":2}"), "A: expected 4 elements, got 3"},
    {EVALUATE("det", "primal", "{\"A\":[1,2,3,\"4\"],\"ell\":2}"), "A[3]: expected a number, got a string"},
    {EVALUATE("det", "primal", "{\"A\":[],\"ell\":0}"), "ell: expected an integer from 1"},
    {EVALUATE("det", "primal", "{\"A\":[1],\"ell\":1.5}"), "ell: expected an integer"},
    {EVALUATE("det", "primal", "{\"A\":[1],\"ell\":1,\"min_runs\":0}"), "min_runs"},
    {EVALUATE("llsq", "gradient", "{\"x\":[],\"n\":4}"), "at least one number"},
    {EVALUATE("lse", "gradient", "{\"x\":{}}"), "x: expected an array, got an object"},
    {EVALUATE("ode", "primal", "{\"x\":[1],\"s\":0}"), "s: expected an integer from 1"},
    {EVALUATE("kmeans", "dir", "{\"points\":[[1,2],[3]],\"centroids\":[[1,2]]}"),
     "points[1]: expected 2 elements, got 1"},
    {EVALUATE("kmeans", "dir", "{\"points\":[[1,2],[3,4]],\"centroids\":[[1,2,3]]}"),
     "centroids[0]: expected 2 elements"},
    {EVALUATE("kmeans", "dir", "{\"points\":[[1],[2]],\"centroids\":[[1],[50]]}"), "not finite"},
    {EVALUATE("lstm", "objective", "{\"main_params\":[[1,2,3]]}"), "expected 2 l rows of 4 b numbers"},
    {EVALUATE("saddle", "rr", "{\"start\":[1]}"), "start: expected 2 elements"},
    {EVALUATE("particle", "rr", "{\"w\":true}"), "w: expected a number, got a boolean"},
};

static void test_wrong_messages(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        json_t *answer = ask_line(wrong[i].line);
        assert_false(succeeded(answer));
        const char *error = json_string_value(json_object_get(answer, "error"));
        if (!strstr(error, wrong[i].error))
            fail_msg("%s: \"%s\", expected \"%s\"", wrong[i].line, error, wrong[i].error);
        json_decref(answer);
    }
}

/* Every member of a proper input in turn is missing, or something else: the missing ones are named. */
static void spoil(const model *m, json_t *input, json_t *object) {
    static const char *const others[] = {"null", "\"text\"", "[]",    "[[]]", "[[[[1]]]]",
                                         "{}",   "-1",       "1e300", "0.5",  "true"};
    json_t *members = json_copy(object), *value;
    const char *key;
    json_object_foreach(members, key, value) {
        json_incref(value);
        json_object_del(object, key);
        json_t *answer = evaluate(m->module, m->derivative, json_deep_copy(input));
        assert_false(succeeded(answer));
        assert_non_null(strstr(json_string_value(json_object_get(answer, "error")), key));
        json_decref(answer);
        for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
            json_object_set_new(object, key, json_loads(others[i], JSON_DECODE_ANY, NULL));
            answer = evaluate(m->module, m->derivative, json_deep_copy(input));
            (void)succeeded(answer); /* either, but properly said */
            json_decref(answer);
        }
        json_object_set_new(object, key, value);
        if (json_is_object(value)) spoil(m, input, value);
    }
    json_decref(members);
}

static void test_spoilt_inputs(void **state) {
    (void)state;
    const model more[] = {
        {"ode", "primal", "gradient", ODE_N, ODE_N, ode, ode_input, {0}},
        {"ba", "objective", "jacobian", BA_X, 3, ba, ba_input, {.3, -.5, .2, 1, .5, -4, 2.5, .1}},
        {"kmeans", "cost", "dir", KMEANS_K * KMEANS_D, 1, kmeans, kmeans_input, {0.2, -0.3, 0.1, 2.8}},
    };
    for (size_t i = 1; i < sizeof gradients / sizeof *gradients; i++) {
        json_t *input = gradients[i].input(gradients[i].x);
        spoil(&gradients[i], input, input);
        json_decref(input);
    }
    for (size_t i = 0; i < sizeof more / sizeof *more; i++) {
        json_t *input = more[i].input(more[i].x);
        spoil(&more[i], input, input);
        json_decref(input);
    }
}

static void test_spoilt_ht(void **state) {
    (void)state;
    const model m = {"ht", "objective",    "jacobian",           HT_THETA + 2 * HT_POINTS,
                     6,    ht_complicated, ht_complicated_input, {0}};
    json_t *input = m.input(m.x);
    spoil(&m, input, input);
    json_decref(input);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_protocol),
        cmocka_unit_test(test_hello),
        cmocka_unit_test(test_gradients),
        cmocka_unit_test(test_det_of_many_rows),
        cmocka_unit_test(test_long_lstm),
        cmocka_unit_test(test_lstm_with_more_layers_than_steps),
        cmocka_unit_test(test_lse_of_large_numbers),
        cmocka_unit_test(test_ode),
        cmocka_unit_test(test_kmeans),
        cmocka_unit_test(test_ba),
        cmocka_unit_test(test_ht),
        cmocka_unit_test(test_particle),
        cmocka_unit_test(test_saddle),
        cmocka_unit_test(test_timings),
        cmocka_unit_test(test_wrong_messages),
        cmocka_unit_test(test_spoilt_inputs),
        cmocka_unit_test(test_spoilt_ht),
    };
    return cmocka_run_group_tests(tests, start_tool, stop_tool);
}
