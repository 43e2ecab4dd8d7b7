/* adcheck --emit-c: the gradient that is printed for a derivation, compiled and run, is the tape's. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <autograd/autograd.h>

#include <dlfcn.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "nn/check/check.h"

static const char derivation[] = "x = [1, 3, 0]\n"
                                 "y = [0, 1, 0]\n"
                                 "W = [[0.3, 0.1, -2], [-0.6, -0.5, 2], [-1, -0.5, 0.1]]\n"
                                 "b = [0.1, 0.1, 0.1]\n"
                                 "\xCF\x83 ~ normal()\n"
                                 "unused = 3\n"
                                 "z = x @ W + b\n"
                                 "p = softmax(z)\n"
                                 "L = -sum(y * ln(p)) * exp(\xCF\x83)\n"
                                 "check \"dL/dz\": grad(L, z) == (p - y) * exp(\xCF\x83)\n";

static bool emit(const char *f, const char *x, FILE *out, char *message, size_t room) {
    return ac_emit_c(&(ac_source){.name = "test.ad", .text = derivation, .size = sizeof derivation - 1},
                     &(ac_options){.seed = 1}, f, x, out, message, room);
}

static ag_var loss(ag_tape *t, const double *x, ag_var w, const double *b, const double *y, double s) {
    ag_var z = ag_add(ag_matmul(ag_tensor(t, x, AG_SHAPE(3)), w), ag_tensor(t, b, AG_SHAPE(3)));
    return ag_mul(ag_neg(ag_sum(ag_mul(ag_tensor(t, y, AG_SHAPE(3)), ag_log(ag_softmax(z, -1))))), exp(s));
}

typedef void function(const double *w, const double *x, const double *y, const double *b, double s, double *l,
                      double *dw);

static void compiled(void **unused) {
    char folder[] = "/tmp/test_emit_XXXXXX", source[64], object[64], command[400], message[400];
    const char *cc = getenv("CC");
    (void)unused;
    if (!cc || !*cc) cc = "cc";
    snprintf(command, sizeof command, "command -v %.200s >/dev/null 2>&1", cc);
    if (system(command) != 0) {
        print_message("there is no C compiler '%s'\n", cc);
        skip();
    }
    assert_non_null(mkdtemp(folder));
    snprintf(source, sizeof source, "%s/e.c", folder);
    snprintf(object, sizeof object, "%s/e.so", folder);
    FILE *out = fopen(source, "w");
    assert_non_null(out);
    if (!emit("L", "W", out, message, sizeof message)) fail_msg("%s", message);
    fclose(out);
    snprintf(command, sizeof command, "%.200s -std=c11 -Wall -Wextra -Wpedantic -Werror -shared -fPIC -O1 -o %s %s -lm",
             cc, object, source);
    assert_int_equal(system(command), 0);
    void *library = dlopen(object, RTLD_NOW), *symbol;
    assert_non_null(library);
    symbol = dlsym(library, "dL_dW");
    assert_non_null(symbol);
    function *f;
    memcpy(&f, &symbol, sizeof f);
    const double w[9] = {0.2, -0.3, 1, 0.5, 0.25, -1, 2, 0.1, 0.4}, x[3] = {1, -2, 0.5}, b[3] = {0, 0.5, 1},
                 y[3] = {0.25, 0.5, 0.25};
    double l, dw[9], right[9], s = 0.3;
    f(w, x, y, b, s, &l, dw);
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var wv = ag_tensor(t, w, AG_SHAPE(3, 3)), lv = loss(t, x, wv, b, y, s);
    ag_backward(lv);
    ag_read_grad(wv, right);
    assert_true(fabs(l - ag_value(lv)) < 1e-14);
    for (int i = 0; i < 9; i++) assert_true(fabs(dw[i] - right[i]) < 1e-14);
    ag_tape_free(t);
    dlclose(library);
    unlink(source);
    unlink(object);
    rmdir(folder);
}

/* By a value that is computed: what it is computed from is no argument. */
static void intermediate(void **unused) {
    char message[400], *text = NULL;
    size_t size;
    (void)unused;
    FILE *out = open_memstream(&text, &size);
    if (!emit("L", "z", out, message, sizeof message)) fail_msg("%s", message);
    fclose(out);
    assert_non_null(strstr(text, "void dL_dz(const double *z, const double *y, double "));
    assert_non_null(strstr(text, " in: a number: \xCF\x83\n")); /* what p__ is */
    assert_null(strstr(text, "double *W"));
    assert_null(strstr(text, "unused"));
    free(text);
}

static void errors(void **unused) {
    static const char *const wrong[][3] = {{"L", "q", "no value 'q'"},
                                           {"p", "W", "'p' is not a number"},
                                           {"L", "unused", "does not depend"},
                                           {"grad", "W", "no value"}};
    (void)unused;
    for (size_t k = 0; k < sizeof wrong / sizeof *wrong; k++) {
        char message[400], *text = NULL;
        size_t size;
        FILE *out = open_memstream(&text, &size);
        assert_false(emit(wrong[k][0], wrong[k][1], out, message, sizeof message));
        fclose(out);
        assert_int_equal(size, 0);
        if (!strstr(message, wrong[k][2])) fail_msg("%s", message);
        free(text);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(compiled),
        cmocka_unit_test(intermediate),
        cmocka_unit_test(errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
