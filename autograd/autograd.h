/* autograd: exact derivatives of computations written in C.
 *
 *     ag_tape *t = ag_tape_new(AG_F64);
 *     ag_var x = ag_input(t, 2.0), y = ag_input(t, 3.0);
 *     ag_var z = ag_add(ag_mul(x, y), ag_sin(x));
 *     ag_backward(z);                      // ag_grad(x) is y + cos x, ag_grad(y) is x
 *     ag_tape_free(t);
 *
 * Vocabulary
 *   tape     records operations as they are computed, with their values. One thread at a time uses a tape.
 *   var      an ag_var: a scalar or a tensor (up to AG_MAX_RANK dimensions) on a tape, passed by value, never freed.
 *            A plain C number may stand for a var in operations of two and three operands, and ag_num makes a var of
 *            one that belongs to no tape; a zero-initialised ag_var is the number 0.
 *   input    a var that derivatives are taken by. A constant, and what is computed from constants only, has none.
 *   view     what reshape, transpose, slice, ... return: another way to look at the same values and adjoints. It costs
 *            no instruction and no copy.
 *   adjoint  the derivative of what was swept by a var; tangent: the derivative of a var along a direction.
 *
 * Errors stick. A bad call puts its tape into an error state with a status and a sentence (ag_tape_status,
 * ag_tape_message) and returns an inert var; every later operation on that tape does nothing. So a computation can be
 * written down without tests and tested once at its end. No call aborts, exits or prints. The value and the adjoint of an
 * inert var are NaN; it has no elements that ag_read could write. A var of a part that was rewound or cleared is refused,
 * unless that was a multiple of 70 rewinds or 20 clears ago: then it is taken for what is there now.
 *
 * Edges. A partial p reaches an adjoint or tangent w as w * p, except that an exact 0 on either side gives 0: a branch
 * that is not taken cannot turn a derivative into NaN; which sign that 0 has is not specified, and may differ between a tape,
 * a program and printed code. Kinks and poles of each operation are in ops/elementwise.def. */
#ifndef AUTOGRAD_H
#define AUTOGRAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__) && defined(AG_BUILDING_)
#define AG_API __attribute__((visibility("default")))
#else
#define AG_API
#endif
#if defined(__GNUC__)
#define AG_LIKELY_(c) __builtin_expect(!!(c), 1)
#define AG_FORMAT_(f, a) __attribute__((format(printf, f, a)))
#define AG_INLINE_ static inline __attribute__((always_inline))
#define AG_APART_ __attribute__((noinline, cold))
#define AG_KNOWN_(c) __builtin_constant_p(c)
#else
#define AG_APART_
#define AG_INLINE_ static inline
#define AG_KNOWN_(c) true
#define AG_LIKELY_(c) (c)
#define AG_FORMAT_(f, a)
#endif

#define AG_VERSION "0.1.0"
enum { AG_MAX_RANK = 8 };

/* ---- status -------------------------------------------------------------------------------------------------- */

/* X(name, what it means) */
#define AG_STATUSES(X)                                                                                                 \
    X(AG_OK, "no error")                                                                                               \
    X(AG_ERR_MEMORY, "out of memory")                                                                                  \
    X(AG_ERR_SLOTS, "out of slots")                                                                                    \
    X(AG_ERR_SHAPE, "shapes do not fit")                                                                               \
    X(AG_ERR_VALUE, "argument out of range")                                                                           \
    X(AG_ERR_TAPE, "vars of different tapes")                                                                          \
    X(AG_ERR_STALE, "var of a part of the tape that was rewound or cleared")                                           \
    X(AG_ERR_SINGULAR, "singular or not positive definite matrix")                                                     \
    X(AG_ERR_UNSUPPORTED, "the operation has no such derivative")                                                      \
    X(AG_ERR_GUARD, "a branch of a program would go the other way")                                                    \
    X(AG_ERR_CONVERGENCE, "an iteration did not converge")                                                             \
    X(AG_ERR_FILE, "a file cannot be opened, read or written")
typedef enum ag_status {
#define AG_X_(name, text) name,
    AG_STATUSES(AG_X_)
#undef AG_X_
} ag_status;

/* The meaning of a status, in a few words. */
AG_API const char *ag_status_text(ag_status status);

/* ---- tapes --------------------------------------------------------------------------------------------------- */

typedef enum ag_type { AG_F64, AG_F32 } ag_type; /* of all numbers of a tape */

typedef struct ag_tape ag_tape;

typedef struct ag_options {
    ag_type type;
    /* Asked before the tape takes `bytes` more memory; false makes the tape fail with AG_ERR_MEMORY. NULL permits all.
     * For memory budgets, and for testing what happens when memory runs out. */
    bool (*permit)(void *context, size_t bytes);
    void *context;
    /* Do not reserve address space: memory grows by copying. For systems with limited address space. */
    bool no_reserve;
} ag_options;

/* A new, empty tape. Never NULL: out of memory gives a tape in the state AG_ERR_MEMORY, and so does having 12,870 others at
 * once. */
AG_API ag_tape *ag_tape_new(ag_type type);
AG_API ag_tape *ag_tape_new_with(const ag_options *options);
AG_API void ag_tape_free(ag_tape *tape); /* NULL is fine */
/* Forgets everything recorded, errors too, and keeps the memory for the next recording. All its vars become stale. */
AG_API void ag_tape_clear(ag_tape *tape);
/* Gives memory that is not in use back to the system. */
AG_API void ag_tape_trim(ag_tape *tape);
AG_API ag_type ag_tape_type(const ag_tape *tape);

AG_API ag_status ag_tape_status(const ag_tape *tape);
/* One sentence on the first error: the operation, shapes and values; "" if there is none. Valid until the next call. */
AG_API const char *ag_tape_message(const ag_tape *tape);
/* Forgets an error, so that recording can go on; what was recorded before it stays. */
AG_API void ag_tape_recover(ag_tape *tape);
/* Puts a tape into the error state, for the caller's own operations and checks; the first error stays. */
AG_API void ag_fail(ag_tape *tape, ag_status status, const char *format, ...) AG_FORMAT_(3, 4);

/* While paused, results are constants: nothing is recorded and no derivative flows. Pauses nest. */
AG_API void ag_pause(ag_tape *tape);
AG_API void ag_resume(ag_tape *tape);
/* Whether what is recorded now is to be frozen (ag_program_freeze): then ag_detach, and results while paused, stay
 * operations, and are not the constants that they are now. Nothing is kept for sweeps of it; derivatives are recorded. */
AG_API void ag_tape_trace(ag_tape *tape, bool on);
/* For the rest of the trace, which is to end with ag_tape_trace(tape, false): nothing is computed, what is recorded has only
 * shapes. So derivatives of a large computation are recorded without the memory for their values. */
AG_API void ag_tape_trace_shapes(ag_tape *tape);

/* A place on a tape. Rewinding to it forgets what was recorded since, in O(1), and makes those vars stale. */
typedef struct ag_mark {
    uint64_t id;
    uint32_t section;
} ag_mark;
AG_API ag_mark ag_tape_mark(ag_tape *tape);
AG_API void ag_tape_rewind(ag_tape *tape, ag_mark mark);

typedef struct ag_stats {
    uint64_t scalar_instructions, tensor_instructions, slots;
    uint64_t instruction_bytes; /* instructions, tensor records */
    uint64_t value_bytes;       /* 8 (f64) or 4 (f32) a slot */
    uint64_t adjoint_bytes;     /* taken by the last sweep */
    uint64_t held_bytes; /* all memory that the tape may use without asking for more; some may be trimmed pages */
} ag_stats;
AG_API ag_stats ag_tape_stats(ag_tape *tape);    /* takes time in proportion to the instructions */
AG_API size_t ag_tape_held(const ag_tape *tape); /* held_bytes alone, at once */
/* Instructions by operation, slots and bytes, as a table. */
AG_API void ag_tape_summary(ag_tape *tape, FILE *out);
/* The recorded graph in Graphviz's language, with names, shapes, values and, after a sweep, adjoints.
 * Returns false if writing failed. */
AG_API bool ag_dot(ag_tape *tape, FILE *out);
/* Where a NaN comes from: the first that was recorded since a mark, as words in `text`, which cut off what does not fit:
 * "log of shape (2, 3) is nan at (1, 0), of x = -1", "an input w is nan at (4)". False if there is none. */
AG_API bool ag_find_nan(ag_tape *tape, ag_mark from, char *text, size_t size);

/* ---- vars ---------------------------------------------------------------------------------------------------- */

/* 16 bytes, passed in two registers. Its members are private.
 *   place  0: a plain number. Else bits 0-31: slot of the element with index 0, 0, ...; 50-63: a stamp that tells stale vars;
 *          of an active scalar, 32-47: its tape, as a number; 48: AG_ASK_; of others, which have bit 49, 32-48: the view
 *   value  a plain number's; that of the result of a scalar operation; of others the tape's address */
typedef struct ag_var {
    uint64_t place;
    double value;
} ag_var;

typedef struct ag_shape {
    int rank; /* 0: a scalar */
    int64_t dim[AG_MAX_RANK];
} ag_shape;

/* Some of a tensor's axes, negative counting from the last; none means all. */
typedef struct ag_axes {
    int count;
    int axis[AG_MAX_RANK];
} ag_axes;

/* A shape with strides, in elements; private to operations that take views as they are. */
typedef struct ag_view {
    int rank;
    bool constant;   /* no derivative */
    bool contiguous; /* row-major, without gaps */
    int64_t dim[AG_MAX_RANK], stride[AG_MAX_RANK];
    int64_t count;  /* elements */
    int64_t lo, hi; /* least and greatest offset of an element */
} ag_view;

AG_API ag_shape ag_make_shape_(int rank, const int64_t *dim);
AG_API ag_axes ag_make_axes_(int count, const int *axis);

AG_API ag_var ag_input(ag_tape *tape, double value);
AG_API ag_var ag_constant(ag_tape *tape, double value);

/* Tensors, copied from row-major data (NULL: zeros). The data's type need not be the tape's; it is converted.
 *     ag_tensor          an input; its values may be changed later by ag_set
 *     ag_constant_tensor
 *     ag_set             new values for an input or constant (for a result: an error); what was recorded from it keeps
 *                        its old values, so set, then record: a sweep of that would mix both, which nothing notices
 *     ag_read            values of any var, row-major
 *     ag_read_grad       adjoints of any var, row-major */
AG_API ag_var ag_tensor(ag_tape *tape, const double *data, ag_shape shape);
AG_API ag_var ag_tensor_f32(ag_tape *tape, const float *data, ag_shape shape);
AG_API ag_var ag_constant_tensor(ag_tape *tape, const double *data, ag_shape shape);
AG_API ag_var ag_constant_tensor_f32(ag_tape *tape, const float *data, ag_shape shape);
AG_API void ag_set(ag_var x, const double *data);
AG_API void ag_set_f32(ag_var x, const float *data);
AG_API void ag_read(ag_var x, double *out);
AG_API void ag_read_f32(ag_var x, float *out);
AG_API void ag_read_grad(ag_var x, double *out);
AG_API void ag_read_grad_f32(ag_var x, float *out);

/* Constants. */
AG_API ag_var ag_full(ag_tape *tape, double value, ag_shape shape);
AG_API ag_var ag_zeros(ag_tape *tape, ag_shape shape);
AG_API ag_var ag_ones(ag_tape *tape, ag_shape shape);
AG_API ag_var ag_eye(ag_tape *tape, int64_t n);
AG_API ag_var ag_arange(ag_tape *tape, double start, double step, int64_t n);
/* labels[i] in 0..classes-1 gives row i with a single 1: shape (n, classes). */
AG_API ag_var ag_one_hot(ag_tape *tape, const int64_t *labels, int64_t n, int64_t classes);

AG_API ag_shape ag_shape_of(ag_var x);
AG_API int64_t ag_count(ag_var x); /* number of elements; 0 for an inert var */
AG_API bool ag_is_constant(ag_var x);
AG_API bool ag_is_inert(ag_var x); /* the result of an operation in error, or stale */

AG_API double ag_value(ag_var x); /* of a scalar or a tensor of one element */
AG_API double ag_grad(ag_var x);  /* adjoint of the same; 0 before any sweep, and for constants */

/* The values themselves, in the tape's type, of a contiguous var; NULL for others. Inputs and constants may be written.
 * Valid until the next call that records. */
AG_API void *ag_data(ag_var x);
/* The adjoints, likewise, after a sweep. */
AG_API void *ag_grad_data(ag_var x);
/* Both at once, and how many numbers there are. `grad` is NULL where the last sweep, and those that it added to, did not
 * reach x, so that its adjoints are all 0; of a scalar, if it is watched. All is NULL and 0 for a var that is not contiguous,
 * or a number. */
typedef struct ag_numbers {
    void *data, *grad;
    int64_t count;
} ag_numbers;
AG_API ag_numbers ag_numbers_of(ag_var x);
/* Sweeps will tell whether they reach x, a scalar input: they then look at all instructions behind it once more. Nothing for
 * any other var: it is known of tensors. */
AG_API void ag_watch(ag_var x);
/* x += rate * adjoint of x, in place, for an input: one step of gradient ascent (descent: rate < 0). */
AG_API void ag_step(ag_var x, double rate);

/* Names for drawings and messages; the text is copied. */
AG_API void ag_name(ag_var x, const char *name);

/* The same values without derivative: a constant (copied). */
AG_API ag_var ag_detach(ag_var x);

/* ---- derivatives --------------------------------------------------------------------------------------------- */

typedef enum ag_sweep_mode {
    AG_RESET,      /* adjoints start from 0 */
    AG_ACCUMULATE, /* adjoints of inputs are added to; those of results start from 0 */
    /* The same, but the adjoint of a large result is let go of when it was used: it reads as NaN, and ag_grad_data gives
     * NULL. For the gradient by inputs alone: takes less memory, and what it takes stays in cache. */
    AG_RESET_FORGET,
    AG_ACCUMULATE_FORGET
} ag_sweep_mode;

/* Sweeps in reverse from y, a scalar or a tensor of one element. Then ag_grad & co. give the derivative of y by any var
 * recorded before it. Costs a small multiple of recording, whatever the number of inputs. */
AG_API void ag_backward(ag_var y);
/* Why y, a scalar, or a derivative of it is not finite, in words as those of ag_find_nan: the input or operation that first
 * has the NaN or infinity on the way to y, "div is inf, of 1 and x = 0", and which operation makes a NaN of an infinity,
 * "...; of that, sub is nan, of inf and inf"; or, where y is finite, the one whose derivative has it first in a sweep from
 * y (AG_RESET): "the derivative of sqrt is inf, of x = 0". Infinities that do not reach y, such as scores that a mask makes
 * -inf, are none. False if all is finite. Takes time. */
AG_API bool ag_find_infinity(ag_var y, char *text, size_t size);
/* Sweeps from n outputs at once: adjoints of sum_i <seeds[i], ys[i]>. A seed has its output's shape, or is a scalar that
 * stands for all of it; `seeds` NULL means ones (scalar outputs only). */
AG_API void ag_sweep(const ag_var *ys, const ag_var *seeds, int n, ag_sweep_mode mode);

/* Derivatives recorded as vars on the same tape, so that they can be differentiated again, to any order.
 *   ag_gradient  out[i] = dy / dxs[i], in the shape of xs[i]; y is a scalar. xs[i] may be any var, a leaf or an
 *                intermediate result, an element or slice of one; it goes through every path from xs[i] to y.
 *   ag_vjp       out[i] = sum_j <ws[j], d ys[j] / d xs[i]>: the gradient of a weighted sum of outputs
 *   ag_jvp       out[j] = sum_i (d ys[j] / d xs[i]) vs[i]: the derivative of the outputs along a direction (forward mode)
 *   ag_hvp       (d^2 y / dx^2) v in the shape of x, forward over reverse
 *   ag_jacobian  d y / d x, of shape y.shape + x.shape; rows by reverse or columns by forward mode, whichever are fewer
 *   ag_hessian   d^2 y / dx^2, of shape x.shape + x.shape */
AG_API void ag_gradient(ag_var y, const ag_var *xs, int n, ag_var *out);
AG_API void ag_vjp(const ag_var *ys, const ag_var *ws, int ny, const ag_var *xs, int nx, ag_var *out);
AG_API void ag_jvp(const ag_var *ys, int ny, const ag_var *xs, const ag_var *vs, int nx, ag_var *out);
AG_API ag_var ag_hvp(ag_var y, ag_var x, ag_var v);
AG_API ag_var ag_jacobian(ag_var y, ag_var x);
AG_API ag_var ag_hessian(ag_var y, ag_var x);

/* ---- elementwise operations: scalars and tensors, broadcast as in NumPy ---------------------------------------- */

/* Opcodes, from the table of operations. */
typedef enum ag_opcode {
#define AG_OP1(NAME, ...) AG_##NAME,
#define AG_OP2(NAME, ...) AG_##NAME,
#define AG_OP3(NAME, ...) AG_##NAME,
#include <autograd/ops/elementwise.def>
#undef AG_OP1
#undef AG_OP2
#undef AG_OP3
    AG_OPCODES
} ag_opcode;

/* The operation of an opcode on vars or numbers; what the functions below come down to. */
AG_API ag_var ag_apply1_(ag_opcode op, ag_var x);
AG_API ag_var ag_apply2_(ag_opcode op, ag_var x, ag_var y);
AG_API ag_var ag_apply3_(ag_opcode op, ag_var x, ag_var y, ag_var z);

/* One 16-byte instruction; see autograd/tape/tape_impl.h. */
typedef struct ag_instruction_ {
    uint32_t head, a, b, c;
} ag_instruction_;
/* In a head: an operation of two operands of which one is a plain number. */
enum { AG_NUMBER_SECOND_ = 1 << 8, AG_NUMBER_FIRST_ = 2 << 8 };

/* The first part of every tape: all that recording a scalar touches. */
typedef struct ag_head_ {
    ag_instruction_ *next; /* the next instruction to write */
    double *values;
    uint64_t place;  /* of the next scalar */
    uint64_t limit;  /* record inline only while place < limit; 0 in error, when paused, and for f32 */
    uint64_t reject; /* bits that no active scalar of now has in its place */
} ag_head_;

/* The tapes by the numbers that scalars know them by, which all have as many bits: none is a part of another. Tapes that were
 * freed stay as one in error. No tape has a number with AG_TENSOR_. */
enum { AG_TAPES_ = 1 << 18 };
extern AG_API ag_tape *ag_tapes_[AG_TAPES_];
#define AG_TENSOR_ ((uint64_t)1 << 49)
/* The tape has the value: of a scalar that may be written in place, or was not recorded inline. */
#define AG_ASK_ ((uint64_t)1 << 48)
#define AG_TAPE_NUMBER_(v) ((uint32_t)((v).place >> 32) & 0x2ffffu)

/* A plain number as a var. */
AG_INLINE_ ag_var ag_num(double number) {
    ag_var v = {0, number};
    return v;
}
AG_INLINE_ ag_var ag_same_(ag_var x) { return x; }

/* The tape of a var; NULL for a plain number. */
AG_INLINE_ ag_tape *ag_tape_of(ag_var x) {
    ag_tape *tape;
    if (!(x.place & AG_TENSOR_)) return ag_tapes_[AG_TAPE_NUMBER_(x)];
    memcpy(&tape, &x.value, sizeof tape);
    return tape;
}

AG_INLINE_ ag_var ag_push_(ag_head_ *h, uint32_t op, uint32_t a, uint32_t b, uint32_t c, double value) {
    ag_instruction_ *i = h->next;
    i->head = op;
    i->a = a;
    i->b = b;
    i->c = c;
    h->next = i + 1;
    ag_var r = {h->place++, value};
    h->values[(uint32_t)r.place] = value;
    return r;
}
/* One operand in slot a, the other a number in place of b and c; or of a function of one its partial there. */
AG_INLINE_ ag_var ag_push_num_(ag_head_ *h, uint32_t op, uint32_t a, double number, double value) {
    uint32_t words[2];
    memcpy(words, &number, sizeof number);
    return ag_push_(h, op, a, words[0], words[1], value);
}

/* What of a scalar's tape inline code sees; NULL for numbers and tensors. */
AG_INLINE_ ag_head_ *ag_head_of_(ag_var x) { return (ag_head_ *)(void *)ag_tapes_[AG_TAPE_NUMBER_(x)]; }
/* Whether inline code may record an operation on scalars of tape h now: their places, or-ed. */
AG_INLINE_ bool ag_is_fast_(uint64_t places, const ag_head_ *h) {
    return h != NULL && (places & h->reject) == 0 && h->place < h->limit;
}
#define AG_SLOT_(v) ((uint32_t)(v).place)
/* The value of a scalar: in a register, if it was recorded just now. */
AG_INLINE_ double ag_value_(ag_var x, const ag_head_ *h) {
    return AG_LIKELY_((x.place & AG_ASK_) == 0) ? x.value : h->values[AG_SLOT_(x)];
}

/* Inlined wherever they are called, so that a value passes from one operation to the next in a register. The branches for
 * numbers are there only where the compiler sees the number. */
#define AG_IS_NUM_(v) (AG_KNOWN_((v).place == 0) && (v).place == 0)
#define AG_INLINE1_(name, NAME)                                                                                        \
    AG_INLINE_ ag_var ag_##name##_(ag_var x) {                                                                         \
        ag_head_ *h = ag_head_of_(x);                                                                                  \
        if (!AG_LIKELY_(ag_is_fast_(x.place, h))) return ag_apply1_(AG_##NAME, x);                                     \
        ag_value_and_partial_ r = ag_at_##name##_(ag_value_(x, h));                                                    \
        return ag_push_num_(h, AG_##NAME, AG_SLOT_(x), r.partial, r.value);                                            \
    }
#define AG_INLINE2_(name, NAME, result)                                                                                \
    AG_INLINE_ ag_var ag_##name##_(ag_var x, ag_var y) {                                                               \
        ag_head_ *h = ag_head_of_(AG_IS_NUM_(x) ? y : x);                                                              \
        if (AG_IS_NUM_(y)) {                                                                                           \
            if (AG_LIKELY_(ag_is_fast_(x.place, h))) {                                                                 \
                double a = ag_value_(x, h), b = y.value;                                                               \
                return ag_push_num_(h, (uint32_t)AG_##NAME | (uint32_t)AG_NUMBER_SECOND_, AG_SLOT_(x), b, result);     \
            }                                                                                                          \
        } else if (AG_IS_NUM_(x)) {                                                                                    \
            if (AG_LIKELY_(ag_is_fast_(y.place, h))) {                                                                 \
                double a = x.value, b = ag_value_(y, h);                                                               \
                return ag_push_num_(h, (uint32_t)AG_##NAME | (uint32_t)AG_NUMBER_FIRST_, AG_SLOT_(y), a, result);      \
            }                                                                                                          \
        } else if (AG_LIKELY_(ag_is_fast_(x.place | y.place, h) && y.place != 0)) {                                    \
            double a = ag_value_(x, h), b = ag_value_(y, h);                                                           \
            return ag_push_(h, AG_##NAME, AG_SLOT_(x), AG_SLOT_(y), 0, result);                                        \
        }                                                                                                              \
        return ag_apply2_(AG_##NAME, x, y);                                                                            \
    }
#define AG_INLINE3_(name, NAME, result)                                                                                \
    AG_INLINE_ ag_var ag_##name##_(ag_var x, ag_var y, ag_var z) {                                                     \
        ag_head_ *h = ag_head_of_(x);                                                                                  \
        if (AG_LIKELY_(ag_is_fast_(x.place | y.place | z.place, h) && y.place != 0 && z.place != 0)) {                 \
            double a = ag_value_(x, h), b = ag_value_(y, h), c = ag_value_(z, h);                                      \
            return ag_push_(h, AG_##NAME, AG_SLOT_(x), AG_SLOT_(y), AG_SLOT_(z), result);                              \
        }                                                                                                              \
        return ag_apply3_(AG_##NAME, x, y, z);                                                                         \
    }
AG_INLINE2_(add, ADD, a + b)
AG_INLINE2_(sub, SUB, a - b)
AG_INLINE2_(mul, MUL, a *b)
AG_INLINE2_(div, DIV, a / b)
AG_INLINE3_(fma, FMA, a *b + c)
AG_INLINE3_(fnma, FNMA, c - a * b)
#undef AG_INLINE2_
#undef AG_INLINE3_

/* Operations of one operand; f(x) and f'(x) of a scalar in registers. */
typedef struct ag_value_and_partial_ {
    double value, partial;
} ag_value_and_partial_;
#define AG_OP1(NAME, name, ...)                                                                                        \
    AG_API ag_var ag_##name(ag_var x);                                                                                 \
    AG_API ag_value_and_partial_ ag_at_##name##_(double x);                                                            \
    AG_INLINE1_(name, NAME)
#define AG_OP2(NAME, ...)
#define AG_OP3(NAME, ...)
#include <autograd/ops/elementwise.def>
#undef AG_OP1
#undef AG_OP2
#undef AG_OP3
#undef AG_INLINE1_
#define ag_neg(x) ag_neg_(x)
#define ag_square(x) ag_square_(x)
#define ag_recip(x) ag_recip_(x)
#define ag_sqrt(x) ag_sqrt_(x)
#define ag_cbrt(x) ag_cbrt_(x)
#define ag_exp(x) ag_exp_(x)
#define ag_expm1(x) ag_expm1_(x)
#define ag_exp2(x) ag_exp2_(x)
#define ag_log(x) ag_log_(x)
#define ag_log1p(x) ag_log1p_(x)
#define ag_log2(x) ag_log2_(x)
#define ag_log10(x) ag_log10_(x)
#define ag_sin(x) ag_sin_(x)
#define ag_cos(x) ag_cos_(x)
#define ag_tan(x) ag_tan_(x)
#define ag_asin(x) ag_asin_(x)
#define ag_acos(x) ag_acos_(x)
#define ag_atan(x) ag_atan_(x)
#define ag_sinh(x) ag_sinh_(x)
#define ag_cosh(x) ag_cosh_(x)
#define ag_tanh(x) ag_tanh_(x)
#define ag_asinh(x) ag_asinh_(x)
#define ag_acosh(x) ag_acosh_(x)
#define ag_atanh(x) ag_atanh_(x)
#define ag_erf(x) ag_erf_(x)
#define ag_erfc(x) ag_erfc_(x)
#define ag_lgamma(x) ag_lgamma_(x)
#define ag_digamma(x) ag_digamma_(x)
#define ag_trigamma(x) ag_trigamma_(x)
#define ag_abs(x) ag_abs_(x)
#define ag_sign(x) ag_sign_(x)
#define ag_floor(x) ag_floor_(x)
#define ag_ceil(x) ag_ceil_(x)
#define ag_round(x) ag_round_(x)
#define ag_stop(x) ag_stop_(x)
#define ag_relu(x) ag_relu_(x)
#define ag_sigmoid(x) ag_sigmoid_(x)
#define ag_log_sigmoid(x) ag_log_sigmoid_(x)
#define ag_softplus(x) ag_softplus_(x)
#define ag_gelu(x) ag_gelu_(x)
#define ag_gelu_slope(x) ag_gelu_slope_(x)
#define ag_gelu_tanh(x) ag_gelu_tanh_(x)
#define ag_silu(x) ag_silu_(x)
#define ag_mish(x) ag_mish_(x)

#ifdef __cplusplus
} /* extern "C" */
static inline ag_var ag_v_(ag_var x) { return x; }
template <class Number> static inline ag_var ag_v_(Number x) { return ag_num(static_cast<double>(x)); }
#define AG_V(x) ag_v_(x)
extern "C" {
#elif defined(__GNUC__)
/* A var or a number as a var. x is written once, so that nested calls do not double at every level. */
#define AG_V(x) AG_V_(x, __COUNTER__)
#define AG_V_(x, n) AG_V__(x, n)
#define AG_V__(x, n)                                                                                                   \
    __extension__({                                                                                                    \
        __auto_type ag_v_##n = (x);                                                                                    \
        _Generic(ag_v_##n, ag_var : ag_same_, default : ag_num)(ag_v_##n);                                             \
    })
#else
#define AG_V(x) _Generic((x), ag_var : ag_same_, default : ag_num)(x)
#endif

/* Operations of two and three operands; each may be a var or a number. One row of ops/elementwise.def each. */
#define ag_add(x, y) ag_add_(AG_V(x), AG_V(y))
#define ag_sub(x, y) ag_sub_(AG_V(x), AG_V(y))
#define ag_mul(x, y) ag_mul_(AG_V(x), AG_V(y))
#define ag_div(x, y) ag_div_(AG_V(x), AG_V(y))
#define ag_fma(x, y, z) ag_fma_(AG_V(x), AG_V(y), AG_V(z))    /* x * y + z */
#define ag_fnma(x, y, z) ag_fnma_(AG_V(x), AG_V(y), AG_V(z))  /* z - x * y */
#define ag_chain(x, y) ag_apply2_(AG_CHAIN, AG_V(x), AG_V(y)) /* x * y, but 0 if either is 0 */
#define ag_pow(x, y) ag_apply2_(AG_POW, AG_V(x), AG_V(y))
#define ag_hypot(x, y) ag_apply2_(AG_HYPOT, AG_V(x), AG_V(y))
#define ag_atan2(y, x) ag_apply2_(AG_ATAN2, AG_V(y), AG_V(x))
#define ag_polygamma(n, x) ag_apply2_(AG_POLYGAMMA, AG_V(n), AG_V(x))
#define ag_min(x, y) ag_apply2_(AG_MIN, AG_V(x), AG_V(y))
#define ag_max(x, y) ag_apply2_(AG_MAX, AG_V(x), AG_V(y))
#define ag_clip(x, lo, hi) ag_apply3_(AG_CLIP, AG_V(x), AG_V(lo), AG_V(hi))
#define ag_select(c, x, y) ag_apply3_(AG_SELECT, AG_V(c), AG_V(x), AG_V(y)) /* c != 0 ? x : y */
#define ag_where(c, x, y) ag_select(c, x, y)
#define ag_eq(x, y) ag_apply2_(AG_EQ, AG_V(x), AG_V(y)) /* comparisons: 1 or 0 */
#define ag_ne(x, y) ag_apply2_(AG_NE, AG_V(x), AG_V(y))
#define ag_lt(x, y) ag_apply2_(AG_LT, AG_V(x), AG_V(y))
#define ag_le(x, y) ag_apply2_(AG_LE, AG_V(x), AG_V(y))
#define ag_gt(x, y) ag_apply2_(AG_GT, AG_V(x), AG_V(y))
#define ag_ge(x, y) ag_apply2_(AG_GE, AG_V(x), AG_V(y))
#define ag_leaky_relu(x, slope) ag_apply2_(AG_LEAKY_RELU, AG_V(x), AG_V(slope))
#define ag_elu(x, alpha) ag_apply2_(AG_ELU, AG_V(x), AG_V(alpha))
#define ag_bce_logits(logit, target) ag_apply2_(AG_BCE_LOGITS, AG_V(logit), AG_V(target))

/* ---- views ----------------------------------------------------------------------------------------------------- */

/* One dim may be -1: what is left; of no elements as if each 0 were a 1, so (0, 4, 4) to (0, -1) gives (0, 16). Copies where
 * strides do not allow a view. */
AG_API ag_var ag_reshape(ag_var x, ag_shape shape);
AG_API ag_var ag_transpose(ag_var x);              /* swaps the last two axes */
AG_API ag_var ag_permute(ag_var x, ag_axes order); /* axis i of the result is axis order[i] of x */
/* Elements start, start + step, ... before stop along an axis; negative positions count from the end; a negative step
 * runs backwards. AG_END as stop: to the end in the direction of step. */
#define AG_END INT64_MIN
AG_API ag_var ag_slice(ag_var x, int axis, int64_t start, int64_t stop, int64_t step);
AG_API ag_var ag_index(ag_var x, int axis, int64_t i); /* one position along an axis, which goes */
/* The element at row-major position i of x, a scalar. */
AG_API ag_var ag_at(ag_var x, int64_t i);
AG_API ag_var ag_expand(ag_var x, ag_shape shape); /* broadcasts, without a copy */
AG_API ag_var ag_squeeze(ag_var x, int axis);      /* removes an axis of length 1 */
AG_API ag_var ag_unsqueeze(ag_var x, int axis);    /* adds an axis of length 1 before `axis` */
AG_API ag_var ag_flip(ag_var x, int axis);
AG_API ag_var ag_diagonal(ag_var x); /* of the last two axes */
/* x itself if it is contiguous, else a copy that is (recorded). */
AG_API ag_var ag_contiguous(ag_var x);

/* ---- tensor operations ----------------------------------------------------------------------------------------- */

/* Reductions over some axes (none given: all). `keep`: the reduced axes stay, with length 1. */
AG_API ag_var ag_sum_over(ag_var x, ag_axes axes, bool keep);
AG_API ag_var ag_mean_over(ag_var x, ag_axes axes, bool keep);
AG_API ag_var ag_prod_over(ag_var x, ag_axes axes, bool keep);
/* Greatest and least; of equals, each has an equal share of the derivative. NaN if any is NaN. Empty: an error. */
AG_API ag_var ag_max_over(ag_var x, ag_axes axes, bool keep);
AG_API ag_var ag_min_over(ag_var x, ag_axes axes, bool keep);
/* Euclidean norm, without overflow; derivative 0 where it is 0. */
AG_API ag_var ag_norm_over(ag_var x, ag_axes axes, bool keep);
/* log sum exp, without overflow. */
AG_API ag_var ag_logsumexp_over(ag_var x, ag_axes axes, bool keep);
static inline ag_axes ag_all_(void) {
    ag_axes a;
    memset(&a, 0, sizeof a);
    return a;
}
static inline ag_var ag_sum(ag_var x) { return ag_sum_over(x, ag_all_(), false); }
static inline ag_var ag_mean(ag_var x) { return ag_mean_over(x, ag_all_(), false); }
static inline ag_var ag_prod(ag_var x) { return ag_prod_over(x, ag_all_(), false); }
static inline ag_var ag_norm(ag_var x) { return ag_norm_over(x, ag_all_(), false); }
static inline ag_var ag_logsumexp(ag_var x) { return ag_logsumexp_over(x, ag_all_(), false); }
/* Positions of the greatest along an axis, the first of equals; a constant. */
AG_API ag_var ag_argmax(ag_var x, int axis);
AG_API ag_var ag_cumsum(ag_var x, int axis);

/* Matrix product as NumPy's matmul: vectors and matrices, leading axes broadcast as a batch. Views are read as they
 * are. The same bits for any number of threads. */
AG_API ag_var ag_matmul(ag_var x, ag_var y);
/* x weight' + bias + residual, fused: rows x (..., in), weight (out, in), bias (out), residual (..., out). The last two may be
 * missing: the number 0. */
AG_API ag_var ag_linear(ag_var x, ag_var weight, ag_var bias, ag_var residual);
/* f(x weight' + bias), fused: for f of AG_RELU, AG_TANH, AG_SIGMOID, AG_SILU, AG_GELU, AG_GELU_TANH, AG_MISH, of which a tape
 * keeps the derivative in place of its operand, or nothing where the result tells it. */
AG_API ag_var ag_linear_activated(ag_var x, ag_var weight, ag_var bias, ag_opcode f);
AG_API ag_var ag_vdot(ag_var x, ag_var y);  /* sum of products of two vars of the same shape */
AG_API ag_var ag_outer(ag_var x, ag_var y); /* of two vectors */
AG_API ag_var ag_trace(ag_var x);           /* of the last two axes */

AG_API ag_var ag_softmax(ag_var x, int axis);
AG_API ag_var ag_log_softmax(ag_var x, int axis);
/* -log softmax(logits)[label] over the last axis, for each of the leading axes: fused, stable. labels: one for each row. */
AG_API ag_var ag_cross_entropy(ag_var logits, const int64_t *labels);
/* The same with labels in a tensor of the losses' shape. A label below 0 is ignored: loss and derivative are 0. */
AG_API ag_var ag_cross_entropy_at(ag_var logits, ag_var labels);
/* -sum(p log softmax(logits)) over the last axis, for target probabilities p of the same shape. */
AG_API ag_var ag_cross_entropy_soft(ag_var logits, ag_var probabilities);

/* Rows `indices[0..n-1]` of x along an axis (repeats allowed): gather, index-select, embedding. */
AG_API ag_var ag_gather(ag_var x, int axis, const int64_t *indices, int64_t n);
/* The reverse of gather: zeros with `length` along the axis, where slice i of x is added at indices[i]. */
AG_API ag_var ag_scatter_add(ag_var x, int axis, const int64_t *indices, int64_t length);
/* The same with indices in a tensor of any shape, which takes the place of the axis: rows of x (n, width) by tokens (b, t)
 * are (b, t, width). So programs take indices as data. An index that is no integer or outside is an error, of the run in
 * a program. Scattering adds over the axes of x from `axis` on that are those of the indices. */
AG_API ag_var ag_gather_at(ag_var x, int axis, ag_var indices);
AG_API ag_var ag_scatter_add_at(ag_var x, int axis, ag_var indices, int64_t length);
AG_API ag_var ag_concat(const ag_var *xs, int n, int axis);
AG_API ag_var ag_stack(const ag_var *xs, int n, int axis);               /* along a new axis */
AG_API ag_var ag_pad(ag_var x, int axis, int64_t before, int64_t after); /* with zeros */
AG_API ag_var ag_tile(ag_var x, int axis, int64_t times);
AG_API ag_var ag_tril(ag_var x, int64_t k); /* keeps what is on or below diagonal k, 0 elsewhere */
AG_API ag_var ag_triu(ag_var x, int64_t k);

/* Linear algebra; leading axes are a batch, the same of all operands: they do not broadcast (AG_ERR_SHAPE). A singular matrix
 * is an error (AG_ERR_SINGULAR).
 *   ag_solve             x with A x = b; b a vector or a matrix
 *   ag_solve_triangular  the same for the lower (or upper) triangle of A, whose other entries are not read
 *   ag_cholesky          lower L with L L' = A; A is symmetric positive definite and only its lower triangle is read
 *   ag_logdet            log |det A|;  ag_det: det A */
AG_API ag_var ag_solve(ag_var a, ag_var b);
AG_API ag_var ag_solve_triangular(ag_var a, ag_var b, bool upper);
AG_API ag_var ag_cholesky(ag_var a);
AG_API ag_var ag_inverse(ag_var a);
AG_API ag_var ag_logdet(ag_var a);
AG_API ag_var ag_det(ag_var a);

/* (x - mean) / sqrt(variance + epsilon) * weight + bias, fused; weight and bias may be missing: a zero-initialised var.
 *   ag_layer_norm  mean and variance (over n, not n - 1) of the last `axes` axes, which are the shape of weight and bias
 *   ag_rms_norm    the same without a mean: x over the root of the mean square
 *   ag_batch_norm  of each channel, axis 1, over all other axes; weight and bias (channels) */
AG_API ag_var ag_layer_norm(ag_var x, int axes, ag_var weight, ag_var bias, double epsilon);
AG_API ag_var ag_rms_norm(ag_var x, int axes, ag_var weight, double epsilon);
AG_API ag_var ag_batch_norm(ag_var x, ag_var weight, ag_var bias, double epsilon);

/* A whole LSTM over steps, fused (Hochreiter, Schmidhuber, 1997, with forget gates): with (i, f, g, o) = gates[t] + bias +
 * h weight^T, c = sigmoid(f) c + sigmoid(i) tanh(g) and h = sigmoid(o) tanh(c). gates (steps, batch, 4 hidden) is what the
 * inputs contribute, weight (4 hidden, hidden), the state before all steps h and c (batch, hidden), bias (4 hidden) or a
 * zero-initialised var. Gives h and c after each step: (2, steps, batch, hidden). Backward: from the last step to the first. */
AG_API ag_var ag_lstm(ag_var gates, ag_var weight, ag_var h, ag_var c, ag_var bias, bool backward);

/* Scaled dot-product attention, fused: softmax(scale q k') v for each head, of q (batch, queries, heads, width), k (batch,
 * keys, heads, width) and v (batch, keys, heads, width of the result), any views; the result is (batch, queries, heads,
 * width), row-major. What a query does not see does not matter, whatever its value; one that sees nothing gives zeros.
 * Memory grows with positions, not with their square. */
typedef struct ag_attention_options {
    double scale; /* 0: 1 / sqrt(width) */
    bool causal;  /* query i sees keys 0 to i */
    ag_var keep;  /* (batch, keys): a key with 0 is not seen by any query; no derivative. Missing: all are seen */
} ag_attention_options;
AG_API ag_var ag_attention(ag_var q, ag_var k, ag_var v, ag_attention_options options);

/* Randomness as a function: of a key, which tells one use from another, and of a clock, a var of one element, such as the
 * number of the step (any number; it has no derivative). The same key and clock give the same numbers, in programs, too,
 * and for any number of threads; Philox 4x32-10.
 *   ag_dropout         x / (1 - p), or with probability p 0, p < 1; its adjoint drops the same elements
 *   ag_random_uniform  in (0, 1);  ag_random_normal: of mean 0 and variance 1 */
AG_API ag_var ag_dropout(ag_var x, double p, uint64_t key, ag_var clock);
AG_API ag_var ag_random_uniform(ag_tape *tape, ag_shape shape, uint64_t key, ag_var clock);
AG_API ag_var ag_random_normal(ag_tape *tape, ag_shape shape, uint64_t key, ag_var clock);

/* ---- images ----------------------------------------------------------------------------------------------------- */

/* Convolution as in PyTorch: images x of shape (n, channels, height, width), weights (filters, channels / groups, rows,
 * columns); each side has (side + 2 padding - dilation (kernel - 1) - 1) / stride + 1 results. What lies in the padding
 * is a zero that is multiplied like any other number. Of `stride` and the others the first is vertical, the second
 * horizontal; in one dimension, x (n, channels, length), the first counts. Options that are 0 have their defaults. */
typedef struct ag_conv_options {
    int64_t stride[2];         /* 1 */
    int64_t padding[2];        /* zeros on both sides */
    int64_t dilation[2];       /* 1 */
    int64_t groups;            /* 1: channels and filters that have to do with each other */
    int64_t output_padding[2]; /* transposed: more results, fewer than the stride */
    ag_var bias;               /* (filters), transposed (channels of the result): added to each channel; fused */
} ag_conv_options;
AG_API ag_var ag_conv2d(ag_var x, ag_var weight, ag_conv_options options);
AG_API ag_var ag_conv1d(ag_var x, ag_var weight, ag_conv_options options);
/* The adjoint of convolution as an operation: x has as many channels as there are filters, weights (channels of x,
 * channels of the result / groups, rows, columns); sides of (side - 1) stride - 2 padding + dilation (kernel - 1) +
 * output_padding + 1. */
AG_API ag_var ag_conv_transpose2d(ag_var x, ag_var weight, ag_conv_options options);
AG_API ag_var ag_conv_transpose1d(ag_var x, ag_var weight, ag_conv_options options);

/* Pooling of the last two axes (1d: the last one), as in PyTorch: the greatest or the mean of windows. Of equals the first
 * has the derivative; a NaN is greater than all. Of two numbers the first is vertical; in one dimension it is the one.
 * Adaptive: rows x columns windows (1d: n) that cover everything. */
typedef struct ag_pool_options {
    int64_t kernel[2];    /* to be given */
    int64_t stride[2];    /* 0: the kernel's size */
    int64_t padding[2];   /* at most half of the kernel; what lies there is less than all, 0 in a mean */
    int64_t dilation[2];  /* 1; of maxima only */
    bool ceil_mode;       /* windows may end outside */
    bool exclude_padding; /* a mean is over what lies inside */
} ag_pool_options;
AG_API ag_var ag_max_pool2d(ag_var x, ag_pool_options options);
AG_API ag_var ag_max_pool1d(ag_var x, ag_pool_options options);
AG_API ag_var ag_avg_pool2d(ag_var x, ag_pool_options options);
AG_API ag_var ag_avg_pool1d(ag_var x, ag_pool_options options);
AG_API ag_var ag_adaptive_max_pool2d(ag_var x, int64_t rows, int64_t columns);
AG_API ag_var ag_adaptive_max_pool1d(ag_var x, int64_t n);
AG_API ag_var ag_adaptive_avg_pool2d(ag_var x, int64_t rows, int64_t columns);
AG_API ag_var ag_adaptive_avg_pool1d(ag_var x, int64_t n);

/* ---- own operations -------------------------------------------------------------------------------------------- */

/* Values or adjoints of one operand, in the tape's type: data points at index 0, 0, ...; see `strided` below. */
typedef struct ag_array {
    void *data;
    const ag_view *view;
} ag_array;

/* What an operation's functions get. */
typedef struct ag_call {
    ag_tape *tape; /* for ag_fail */
    ag_type type;
    int n;
    const ag_array *in;         /* values of the operands; data is NULL in `shape` */
    ag_array out;               /* value of the result, row-major */
    const ag_array *in_adjoint; /* in `adjoint`: add here; data NULL where nobody asks */
    ag_array out_adjoint;
    const void *params; /* the caller's parameters, copied when recorded */
    size_t params_size;
    void *saved;    /* bytes that `forward` leaves for `adjoint` */
    uint32_t fresh; /* bit k: in_adjoint[k] is not set yet: store there, do not add (only if `stores`, see below) */
    /* set by `shape`: */
    ag_shape shape; /* of the result */
    size_t saved_size;
} ag_call;

/* What its rules for recorded derivatives get. */
typedef struct ag_rule {
    ag_tape *tape;
    int n;
    const ag_var *in;
    ag_var out;
    const bool *wanted; /* operands whose derivative is asked for */
    const void *params;
    size_t params_size;
} ag_rule;

/* Operands and result element by element, row-major. */
typedef struct ag_elements {
    ag_tape *tape;
    int n;
    const ag_shape *shapes;  /* of the operands */
    const ag_var *const *in; /* scalars or numbers */
    ag_shape shape;          /* of the result */
    ag_var *out;             /* to be set */
    const void *params;
    size_t params_size;
} ag_elements;

/* An operation as C: its operands and result are named, and ag_c_line writes statements. Element (i, j) of operand k is
 * in[k][i * stride[0] + j * stride[1]] with the strides of views[k]; the result is `out`, row-major, all of it to be set. */
typedef struct ag_c_form {
    ag_type type;
    const char *number, *suffix; /* "double" and "", or "float" and "f", the end of functions of <math.h> */
    int n;
    const char *const *in;
    const ag_view *const *views;
    const char *out;
    ag_shape shape;
    const void *params;
    size_t params_size;
    bool blas; /* cblas_ functions may be called */
    const struct ag_c_form_state *state;
} ag_c_form;

/* One line; lines end in { or begin with } where a block does. Names of variables: i, i1, ... i7, sum, most, shift, at,
 * scale, best, pivot, row. */
AG_API void ag_c_line(const ag_c_form *form, const char *format, ...) AG_FORMAT_(2, 3);

/* An operation, built in or the user's own. It must outlive the tapes that use it.
 * A function that fails calls ag_fail and returns false. */
typedef struct ag_operation {
    const char *name;
    /* Checks the operands' shapes; sets shape and saved_size. */
    bool (*shape)(ag_call *call);
    /* Writes out (and saved). Neither this nor `adjoint` is called for a result without elements. */
    bool (*forward)(const ag_call *call);
    /* Adds to in_adjoint[k], for each with data, what out_adjoint contributes. Optional where there is `record` and operands
     * are contiguous: then what that records is computed, on a tape of its own. */
    bool (*adjoint)(const ag_call *call);
    /* Optional. The tangent of the result, recorded, from those of the operands (the number 0 where there is none).
     * Without it forward mode goes through `record`, twice. */
    ag_var (*tangent)(const ag_rule *rule, const ag_var *tangents);
    /* Optional. The contribution to each wanted operand of an adjoint w of the result, recorded, in the operand's shape.
     * Without it ag_gradient uses `adjoint` and cannot be differentiated further. */
    void (*record)(const ag_rule *rule, ag_var w, ag_var *contributions);
    /* Optional. The result's elements, recorded as scalar operations: how the operation runs over lanes. */
    void (*scalars)(const ag_elements *elements);
    /* Optional. The parameters refer to something counted: one more copy of them (by 1) or one less (by -1). */
    void (*hold)(const void *params, int by);
    /* Optional. The operation as statements of C, for printed programs; false where there are none, with nothing written.
     * Without it a small operation is printed by `scalars`, and one that is large cannot be. */
    bool (*c_form)(const ag_c_form *form);
    /* Whether parameters are what recording would give for operands of these shapes (data is NULL): asked, before `shape`,
     * of a program that comes from a file. Without it an operation is read only if it has no parameters. */
    bool (*valid)(const ag_call *call);
    /* Takes operands with any strides (negative, 0) as they are. Without it they are contiguous, copied if need be. */
    bool strided;
    /* `adjoint` heeds call->fresh. Without it adjoints that are not set yet are set to 0 first. */
    bool stores;
} ag_operation;

/* Applies an operation: computes its value and records it. `params` are copied. */
AG_API ag_var ag_apply(const ag_operation *operation, const ag_var *operands, int n, const void *params,
                       size_t params_size);
/* True for the number 0, which stands for "no derivative" in rules. */
AG_API bool ag_is_zero(ag_var x);

/* For kernels of one's own.
 *   ag_isa        the instruction set that autograd's kernels use here: "base" (what every machine has), "v3" or "v4"
 *                 (x86-64-v3: AVX2 and FMA; x86-64-v4: AVX-512). AG_ISA in the environment names a lesser one.
 *   ag_threads    how many threads may work now: as OMP_NUM_THREADS says; 1 where several work already
 *   ag_parallel   work(context, k) for k = 0..n-1, at the same time if there are as many threads, which nothing may
 *                 rely on
 *   ag_parallel_long  the same for work of milliseconds: threads are started for it, and sleep where they wait */
AG_API const char *ag_isa(void);
AG_API int ag_threads(void);
AG_API void ag_parallel(int n, void (*work)(void *context, int k), void *context);
AG_API void ag_parallel_long(int n, void (*work)(void *context, int k), void *context);

/* ---- checking -------------------------------------------------------------------------------------------------- */

/* A function of inputs x[0..n-1] on a tape, recorded. */
typedef ag_var (*ag_function)(ag_tape *tape, const ag_var *x, int n, void *context);

typedef struct ag_check_entry {
    int input;                           /* which x */
    int64_t element;                     /* which element of it, row-major */
    int64_t output;                      /* which element of the result */
    double reverse, forward, difference; /* the three derivatives there */
    double noise;                        /* how far off rounding of f's values may have put `difference` */
    double error; /* greatest |a - b| / max(1, |a|, |b|) of any two of them; NaN counts as infinite */
} ag_check_entry;

typedef struct ag_report {
    bool holds;       /* every error <= tolerance */
    ag_status status; /* AG_OK unless the function could not be recorded or differentiated */
    char message[256];
    double tolerance;
    int64_t checked; /* number of derivatives compared */
    int64_t wrong;   /* how many are over the tolerance */
    int64_t unsure;  /* and how many are not counted as wrong, as rounding of f's values explains the difference */
    bool no_forward; /* an operation has neither `tangent` nor `record`: forward mode was left out, and is NaN below */
    ag_check_entry worst;
    double reverse_forward;    /* greatest error between reverse and forward mode alone */
    double reverse_difference; /* and between reverse mode and central differences */
} ag_report;

/* Compares reverse mode, forward mode and central differences (Richardson extrapolation) of f at `inputs`, which are read
 * and not changed, on a tape of its own. tolerance 0 means 1e-6 for f64 and 2e-2 for f32. */
AG_API ag_report ag_check_gradient(ag_function f, void *context, const ag_var *inputs, int n, double tolerance);
AG_API void ag_report_write(const ag_report *report, FILE *out);

#ifdef __cplusplus
} /* extern "C" */
template <class... I> static inline ag_shape ag_shape_cpp_(I... i) {
    const int64_t d[] = {static_cast<int64_t>(i)..., 0};
    return ag_make_shape_(static_cast<int>(sizeof...(i)), d);
}
template <class... I> static inline ag_axes ag_axes_cpp_(I... i) {
    const int a[] = {static_cast<int>(i)..., 0};
    return ag_make_axes_(static_cast<int>(sizeof...(i)), a);
}
#define AG_SHAPE(...) ag_shape_cpp_(__VA_ARGS__)
#define AG_AXES(...) ag_axes_cpp_(__VA_ARGS__)
#else
/* AG_SHAPE(3, 4): a shape; AG_AXES(0, -1): some axes. */
#define AG_SHAPE(...)                                                                                                  \
    ag_make_shape_((int)(sizeof((const int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), (const int64_t[]){__VA_ARGS__})
#define AG_AXES(...) ag_make_axes_((int)(sizeof((const int[]){__VA_ARGS__}) / sizeof(int)), (const int[]){__VA_ARGS__})
#endif

#include <autograd/program.h>

#endif
