/* Tensors of more than 2^31 bytes, skipped where there is not the memory for it and under sanitizers; and what large ones take
 * that have no values. */
#include <autograd/autograd.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <sys/resource.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SANITIZED = true };
#else
enum { SANITIZED = false };
#endif

static bool has_memory(int64_t bytes) {
    return !SANITIZED && (int64_t)sysconf(_SC_AVPHYS_PAGES) >= bytes / (int64_t)sysconf(_SC_PAGESIZE);
}

static void derivatives_behind_two_gigabytes(void **unused) {
    (void)unused;
    const int64_t n = ((int64_t)1 << 28) + 1000; /* doubles */
    if (!has_memory(n * 8 * 3)) {
        print_message("skipped: needs %lld MiB of free memory and no sanitizer\n", (long long)(n * 8 * 3 >> 20));
        skip();
    }
    ag_tape *t = ag_tape_new(AG_F64);
    ag_var x = ag_tensor(t, NULL, AG_SHAPE(n)), tail = ag_slice(x, 0, -3, AG_END, 1);
    ag_set(tail, (double[]){1, 2, 3});
    ag_backward(ag_add(ag_sum(ag_square(tail)), ag_at(x, n - 1)));
    double g[3];
    ag_read_grad(tail, g);
    assert_string_equal(ag_tape_message(t), "");
    assert_true(g[0] == 2 && g[1] == 4 && g[2] == 7);
    assert_true(ag_value(ag_at(x, n - 1)) == 3 && ag_value(ag_at(x, 0)) == 0 && ag_grad(ag_at(x, 0)) == 0);
    ag_tape_free(t);
}

static long most_resident(void) {
    struct rusage usage;
    assert_int_equal(getrusage(RUSAGE_SELF, &usage), 0);
    return usage.ru_maxrss;
}

static void layer(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    (void)t, (void)context;
    y[0] = ag_sum(ag_square(ag_tanh(ag_matmul(x[0], x[1]))));
}

/* 32 MB each, of which nothing is touched; before the other test, as the most counts that ever was. */
static void inputs_without_values(void **unused) {
    (void)unused;
    if (SANITIZED) skip();
    const ag_port in[] = {ag_in("x", AG_SHAPE(2048, 2048)), ag_in("w", AG_SHAPE(2048, 2048))};
    long before = most_resident();
    ag_program *p = ag_program_trace(AG_F64, layer, NULL, in, 2, NULL, 1);
    ag_program *made[] = {p, ag_program_gradient(p, NULL, 0), ag_program_jvp(p, NULL, 0), ag_program_hvp(p, NULL, 0),
                          ag_program_batch(p, 3, NULL, NULL)};
    for (size_t k = 0; k < sizeof made / sizeof *made; k++) {
        assert_string_equal(ag_program_message(made[k]), "");
        ag_program_free(made[k]);
    }
    long more = most_resident() - before;
    if (more > 8 << 10) fail_msg("%ld kB were touched", more);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(inputs_without_values),
                                       cmocka_unit_test(derivatives_behind_two_gigabytes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
