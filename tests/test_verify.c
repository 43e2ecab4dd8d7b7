/* The verifier: it has nothing against any program that was built, and finds each thing that can be wrong with one. */
#include "programs.h"
#include "random_programs.h"

static void model(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    static program p;
    y[0] = run_program(&p, *(int *)context, t, x);
}

static void good_programs(void **unused) {
    (void)unused;
    for (int seed = 1; seed <= 60; seed++) {
        ag_port in[PROGRAM_INPUTS] = {{0}};
        for (int k = 0; k < PROGRAM_INPUTS; k++) in[k].shape = program_input_shape(k);
        ag_type type = seed % 2 ? AG_F64 : AG_F32;
        ag_program *p = ag_program_trace(type, model, &seed, in, PROGRAM_INPUTS, NULL, 1);
        ag_program *all[] = {p,
                             ag_program_gradient(p, NULL, 0),
                             ag_program_hvp(p, NULL, 0),
                             ag_program_jvp(p, (int[]){3}, 1),
                             ag_program_hessian(p, 2),
                             ag_program_batch(p, 3, NULL, NULL),
                             ag_program_scalars(p)};
        for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
            bool good = ag_program_verify(all[i]);
            if (!good || ag_program_status(all[i]) != AG_OK)
                fail_msg("seed %d, program %d: %s", seed, (int)i, ag_program_message(all[i]));
        }
        for (size_t i = sizeof all / sizeof *all; i-- > 0;) ag_program_free(all[i]);
    }
}

/* ---- what is wrong ---- */

static void plain_model(ag_tape *t, const ag_var *x, ag_var *y, void *context) {
    (void)context;
    ag_var c = ag_constant_tensor(t, (double[]){1, 2, 3, 4, 5, 6}, AG_SHAPE(2, 3));
    ag_var m = ag_mul(x[0], c);
    y[0] = ag_softmax(m, 1);
    y[1] = ag_add(ag_at(x[0], 4), x[1]);
    y[2] = ag_square(ag_transpose(m));
}

enum { MUL = 3, SOFTMAX, ADD, SQUARE, FAULTS = 24 };

/* An operation that saves bytes where there is no room for them. */
static bool saving_shape(ag_call *call) {
    const ag_view *v = call->in[0].view;
    call->shape.rank = v->rank;
    memcpy(call->shape.dim, v->dim, sizeof v->dim);
    call->saved_size = 8;
    return true;
}
static bool nothing(const ag_call *call) {
    (void)call;
    return true;
}
static const ag_operation saving = {.name = "saving", .shape = saving_shape, .forward = nothing};

/* Fault i in a program of: input, input, constant, mul, softmax, add, square; and the sentence. */
static const char *damage(ag_program *p, int i) {
    ag_code *code = ag_code_at(p, 0);
    ag_ref *of_mul = ag_ref_at(p, code[MUL].in), *of_add = ag_ref_at(p, code[ADD].in);
    ag_pcall *call = ag_pcall_at(p, code[SOFTMAX].extra);
    ag_pview *view = (ag_pview *)(uintptr_t)ag_pview_at(p, ag_ref_at(p, code[SQUARE].in)->where);
    static const ag_operation none;
    switch (i) {
    case 0: code[MUL].op = CODE_COUNT; return "instruction 3: no such operation";
    case 1: of_mul[1].value = MUL; return "instruction 3: an operand is not defined before, or not inside its value";
    case 2: of_mul[0].value = 1000; return "instruction 3: an operand is not defined before, or not inside its value";
    case 3: of_mul[0].where = 1000; return "instruction 3: an operand is not defined before, or not inside its value";
    case 4:
        of_add[0].where = WHERE_ELEMENT | 6;
        of_add[1].where = WHERE_ELEMENT | 6;
        return "instruction 5: an operand is not defined before, or not inside its value";
    case 5: code[MUL].in = (uint32_t)p->refs.count - 1; return "instruction 3: its operands are not there";
    case 6: code[MUL].view = 1000; return "instruction 3: its value is not a row-major tensor";
    case 7:
        code[MUL].view = ag_ref_at(p, code[SQUARE].in)->where;
        return "instruction 3: its value is not a row-major tensor";
    case 8: code[MUL].view = WHERE_ELEMENT | 1; return "instruction 3: its value is not a row-major tensor";
    case 9: code[MUL].view = WHERE_ELEMENT; return "instruction 3: an operand does not broadcast to the result";
    case 10:
        code[ADD].view = code[MUL].view;
        return "instruction 5: the operands do not broadcast to the result's shape";
    case 11: code[2].extra = 1; return "instruction 2: its numbers are not there";
    case 12: code[0].extra = 2; return "instruction 0: no such input";
    case 13: code[0].extra = 1; return "instruction 0: the input is another value";
    case 14: code[SOFTMAX].extra = 7; return "instruction 4: its call is not there";
    case 15: call->operation = NULL; return "instruction 4: there is no operation";
    case 16: call->operation = &none; return "instruction 4: there is no operation";
    case 17: call->params_size = 1000; return "instruction 4: its parameters are not there";
    case 18: call->params = 1; return "instruction 4: its parameters are not there";
    case 19:
        call->operation = &saving;
        return "instruction 4: the operation gives another shape, or saves more bytes than it has room for";
    case 20:
        code[SOFTMAX].view = code[SQUARE].view;
        return "instruction 4: the operation gives another shape, or saves more bytes than it has room for";
    case 21: view->view.hi++; return ": its extent is not that of its shape and strides";
    case 22: ag_poutput_at(p, 0)->ref.value = 99; return "an output has no name or no value";
    default: ag_pinput_at(p, 1)->name = 10000; return "an input has no name or no value";
    }
}

static void each_fault(void **unused) {
    (void)unused;
    const ag_port in[2] = {{"x", AG_SHAPE(2, 3), NULL}, {"s", {0}, NULL}};
    for (int i = 0; i < FAULTS; i++) {
        ag_program *p = ag_program_trace(AG_F64, plain_model, NULL, in, 2, NULL, 3);
        assert_int_equal(ag_program_size(p), 4);
        assert_int_equal(ag_code_at(p, MUL)->op, AG_MUL);
        assert_int_equal(ag_code_at(p, ADD)->op, AG_ADD);
        assert_true(ag_program_verify(p));
        const char *sentence = damage(p, i);
        bool good = ag_program_verify(p);
        if (good || !strstr(ag_program_message(p), sentence))
            fail_msg("fault %d: \"%s\", should be \"%s\"", i, ag_program_message(p), sentence);
        ag_program_free(p);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(good_programs), cmocka_unit_test(each_fault)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
