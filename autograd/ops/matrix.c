/* Products of strided matrices. */
#include "matrix_impl.h"

/* Up to these sizes loops beat tiles: m * n * k (AG_SMALL_PRODUCT), and m * k of matrix times vector. */
enum { SMALL_VECTOR = 32 };
/* From this many elements on, a row of an outer product is worth a call of a kernel. */
enum { LONG_ROW = 8 };

void *ag_matrix_scratch(const ag_call *call, int64_t rows, int64_t columns) {
    int64_t count, bytes;
    if (!ag_multiply_sizes(rows, columns, &count) ||
        !ag_multiply_sizes(count, (int64_t)ag_type_size(call->type), &bytes)) {
        ag_fail(call->tape, AG_ERR_MEMORY, "no memory for a matrix of %lld x %lld elements", (long long)rows,
                (long long)columns);
        return NULL;
    }
    return ag_scratch(call->tape, bytes > 0 ? (size_t)bytes : 1);
}

/* A row-major copy of x, which *x then is. NULL without memory. */
static void *copy_matrix(const ag_call *call, int64_t rows, int64_t columns, ag_matrix *x) {
    void *memory = ag_matrix_scratch(call, rows, columns);
    if (!memory) return NULL;
    const int64_t dim[2] = {rows, columns}, from[2] = {x->row, x->col}, to[2] = {columns, 1};
    ag_strided_copy(call->type, 2, dim, memory, to, x->data, from);
    *x = ag_row_major_matrix(memory, columns);
    return memory;
}

static void fill_zero(ag_type type, int64_t m, int64_t n, ag_matrix c) {
    if (n == 1 && c.row == 1) {
        memset(c.data, 0, (size_t)m * ag_type_size(type));
        return;
    }
    for (int64_t i = 0; i < m; i++)
        for (int64_t j = 0; j < n; j++) ag_store(type, c.data, i * c.row + j * c.col, 0);
}

/* k = 1: the product of a column and a row, by the longer contiguous side. */
static void outer_product(ag_type type, int64_t m, int64_t n, double alpha, ag_matrix a, ag_matrix b, ag_matrix c,
                          bool store) {
    if (n < LONG_ROW || b.col != 1 || c.col != 1) {
        if (m >= LONG_ROW && a.row == 1 && c.row == 1) {
            outer_product(type, n, m, alpha, ag_transposed(b), ag_transposed(a), ag_transposed(c), store);
            return;
        }
        ag_kernels_for(type)->product(m, n, 1, alpha, &a, &b, &c, store);
        return;
    }
    const ag_kernels *kernels = ag_kernels_for(type);
    for (int64_t i = 0; i < m; i++) {
        double factor = alpha * ag_load(type, a.data, i * a.row);
        void *row = ag_element(type, c.data, i * c.row);
        if (store) kernels->scale((size_t)n, row, factor, b.data);
        else kernels->add_scaled((size_t)n, row, factor, b.data);
    }
}

/* m = n = 1: block by block, as the kernel wants its vectors contiguous. */
static void inner_product(ag_type type, int64_t k, double alpha, ag_matrix a, ag_matrix b, void *c, bool store) {
    enum { BLOCK = 512 };
    const ag_kernels *kernels = ag_kernels_for(type);
    double sum = 0;
    if (a.col == 1 && b.row == 1) sum = kernels->dot((size_t)k, a.data, b.data);
    else {
        double x[BLOCK], y[BLOCK];
        for (int64_t p = 0; p < k; p += BLOCK) {
            int64_t n = k - p < BLOCK ? k - p : BLOCK;
            const int64_t one = 1;
            ag_strided_copy(type, 1, &n, x, &one, ag_element(type, a.data, p * a.col), &a.col);
            ag_strided_copy(type, 1, &n, y, &one, ag_element(type, b.data, p * b.row), &b.row);
            sum += kernels->dot((size_t)n, x, y);
        }
    }
    ag_store(type, c, 0, store ? alpha * sum : ag_load(type, c, 0) + alpha * sum);
}

/* ---- on threads ----
 * Each computes some rows or some columns of the result, all the same as one thread would. */

enum { SHARE = 1 << 21, VECTOR_SHARE = 1 << 18 }; /* products of numbers that are worth a thread */
enum { UNIT = 64, LITTLE_ROOM = 8192 };           /* rows or columns that stay together; bytes on the stack */

typedef struct shared_product {
    const ag_call *call;
    int64_t m, n, k;
    double alpha;
    ag_matrix a, b, c;
    bool store; /* matrix times vector */
    const ag_addend *plus;
    int threads;
    int64_t each; /* rows, or columns, of a thread */
    bool by_rows;
    char *room;
    size_t room_each;
} shared_product;

static int64_t least_of(int64_t a, int64_t b) { return a < b ? a : b; }

/* How many threads, and what each does of `length` rows or columns. */
static int share(int64_t length, double products, double worth, int64_t *each) {
    int most = products < 2 * worth ? 1 : ag_threads();
    int64_t threads = least_of(least_of(most, (int64_t)(products / worth)), (length + UNIT - 1) / UNIT);
    if (threads < 1) threads = 1;
    *each = threads == 1 ? length : ((length + threads - 1) / threads + UNIT - 1) / UNIT * UNIT;
    return (int)threads;
}

static void run_share(void *context, int part) {
    const shared_product *p = context;
    ag_type type = p->call->type;
    int64_t first = part * p->each, count = least_of((p->by_rows ? p->m : p->n) - first, p->each);
    if (count <= 0) return;
    ag_matrix a = p->a, b = p->b, c = p->c;
    ag_addend plus = p->plus ? *p->plus : (ag_addend){0};
    if (p->by_rows) {
        a.data = ag_element(type, a.data, first * a.row);
        c.data = ag_element(type, c.data, first * c.row);
        if (plus.rows.data) plus.rows.data = ag_element(type, plus.rows.data, first * plus.rows.row);
    } else {
        b.data = ag_element(type, b.data, first * b.col);
        c.data = ag_element(type, c.data, first * c.col);
        if (plus.row) plus.row = (const char *)plus.row + first * (int64_t)ag_type_size(type);
        if (plus.rows.data) plus.rows.data = ag_element(type, plus.rows.data, first);
    }
    const ag_kernels *kernels = ag_kernels_for(type);
    if (p->n == 1) kernels->matrix_vector(count, p->k, p->alpha, &a, b.data, c.data, c.row, p->store);
    else
        kernels->panel_product(p->by_rows ? count : p->m, p->by_rows ? p->n : count, p->k, p->alpha, &a, &b, &c,
                               p->plus ? &plus : NULL, p->room + (size_t)part * p->room_each);
}

/* n = 1: y (+)= alpha a x. */
static bool matrix_vector(const ag_call *call, int64_t m, int64_t k, double alpha, ag_matrix a, ag_matrix b,
                          ag_matrix c, bool store) {
    void *copies[2] = {NULL, NULL};
    bool ok = a.col == 1 || a.row == 1 || (copies[0] = copy_matrix(call, m, k, &a)) != NULL;
    ok = ok && (b.row == 1 || (copies[1] = copy_matrix(call, k, 1, &b)) != NULL);
    shared_product p = {
        .call = call, .m = m, .n = 1, .k = k, .alpha = alpha, .a = a, .b = b, .c = c, .store = store, .by_rows = true};
    p.threads = share(m, (double)m * (double)k, VECTOR_SHARE, &p.each);
    if (ok) ag_parallel(p.threads, run_share, &p);
    ag_scratch_free(call->tape, copies[0]);
    ag_scratch_free(call->tape, copies[1]);
    return ok;
}

static bool matrix_matrix(const ag_call *call, int64_t m, int64_t n, int64_t k, double alpha, ag_matrix a, ag_matrix b,
                          ag_matrix c, const ag_addend *plus);

/* How many rows of a product are computed where all are the same: one alone would be summed up in another order. */
enum { COMPUTED = 2 };

/* By rows that are one, or columns: what was broadcast, as the ones in the derivative of a sum. Rows of c are contiguous. */
static bool product_by_same(const ag_call *call, int64_t m, int64_t n, int64_t k, double alpha, ag_matrix a,
                            ag_matrix b, ag_matrix c) {
    size_t bytes = (size_t)n * ag_type_size(call->type);
    if (b.col != 0) {
        bool fine = matrix_matrix(call, COMPUTED, n, k, alpha, a, b, c, NULL);
        for (int64_t i = COMPUTED; i < m && fine; i++) memcpy(ag_element(call->type, c.data, i * c.row), c.data, bytes);
        return fine;
    }
    ag_matrix r = ag_row_major_matrix(ag_matrix_scratch(call, COMPUTED, m), m);
    bool fine = r.data && matrix_matrix(call, COMPUTED, m, k, alpha, ag_transposed(b), ag_transposed(a), r, NULL);
    for (int64_t i = 0; i < m && fine; i++)
        ag_kernels_for(call->type)
            ->fill((size_t)n, ag_element(call->type, c.data, i * c.row), ag_load(call->type, r.data, i));
    ag_scratch_free(call->tape, r.data);
    return fine;
}

/* Rows of c are contiguous. */
static bool matrix_matrix(const ag_call *call, int64_t m, int64_t n, int64_t k, double alpha, ag_matrix a, ag_matrix b,
                          ag_matrix c, const ag_addend *plus) {
    if (!plus && ((b.col == 0 && n > COMPUTED) || (a.row == 0 && m > COMPUTED)))
        return product_by_same(call, m, n, k, alpha, a, b, c);
    shared_product p = {.call = call, .m = m, .n = n, .k = k, .alpha = alpha, .a = a, .b = b, .c = c, .plus = plus};
    _Alignas(64) char little[LITTLE_ROOM];
    p.by_rows = m > n;
    p.threads = share(p.by_rows ? m : n, (double)m * (double)n * (double)k, SHARE, &p.each);
    /* of all columns: a share may be of whole vectors where the last one is not */
    p.room_each = ag_kernels_for(call->type)->panel_room(p.by_rows ? p.each : m, n, k, &a, &b);
    bool fits = p.threads == 1 && p.room_each <= sizeof little;
    p.room = fits ? little : ag_scratch(call->tape, p.room_each * (size_t)p.threads);
    if (!p.room) return false;
    ag_parallel(p.threads, run_share, &p);
    if (!fits) ag_scratch_free(call->tape, p.room);
    return true;
}

/* A product whose result has no contiguous rows or columns, or overlaps itself: into a copy, then added or copied. */
static bool product_by_copy(const ag_call *call, int64_t m, int64_t n, int64_t k, double alpha, ag_matrix a,
                            ag_matrix b, ag_matrix c, bool store) {
    ag_matrix r = ag_row_major_matrix(ag_matrix_scratch(call, m, n), n);
    if (!r.data) return false;
    bool ok = ag_product(call, m, n, k, alpha, a, b, r, true);
    const int64_t dim[2] = {m, n}, from[2] = {n, 1}, to[2] = {c.row, c.col};
    if (ok && store) ag_strided_copy(call->type, 2, dim, c.data, to, r.data, from);
    else if (ok) ag_strided_add(call->type, 2, dim, c.data, to, r.data, from);
    ag_scratch_free(call->tape, r.data);
    return ok;
}

bool ag_product(const ag_call *call, int64_t m, int64_t n, int64_t k, double alpha, ag_matrix a, ag_matrix b,
                ag_matrix c, bool store) {
    ag_type type = call->type;
    if (m == 0 || n == 0) return true;
    if (k == 0) {
        if (store) fill_zero(type, m, n, c);
        return true;
    }
    if (m == 1 && n == 1) {
        inner_product(type, k, alpha, a, b, c.data, store);
        return true;
    }
    if (k == 1) {
        outer_product(type, m, n, alpha, a, b, c, store);
        return true;
    }
    bool vector = m == 1 || n == 1;
    if ((double)m * (double)n * (double)k <= (vector ? SMALL_VECTOR : AG_SMALL_PRODUCT)) {
        ag_kernels_for(type)->product(m, n, k, alpha, &a, &b, &c, store);
        return true;
    }
    if (n == 1 && c.row != 0) return matrix_vector(call, m, k, alpha, a, b, c, store);
    if (m == 1 && c.col != 0)
        return matrix_vector(call, n, k, alpha, ag_transposed(b), ag_transposed(a), ag_transposed(c), store);
    ag_matrix turned = ag_transposed(c);
    if (!vector && c.col == 1 && (c.row >= n || c.row <= -n))
        return matrix_matrix(call, m, n, k, alpha, a, b, c, store ? NULL : &(ag_addend){.rows = c});
    if (!vector && c.row == 1 && (c.col >= m || c.col <= -m)) /* c^T = b^T a^T */
        return matrix_matrix(call, n, m, k, alpha, ag_transposed(b), ag_transposed(a), turned,
                             store ? NULL : &(ag_addend){.rows = turned});
    return product_by_copy(call, m, n, k, alpha, a, b, c, store);
}

/* Writes what is added to a product to where the product will be. */
static void write_addend(ag_type type, int64_t m, int64_t n, void *c, void *row, void *rows) {
    const ag_kernels *kernels = ag_kernels_for(type);
    size_t bytes = (size_t)n * ag_type_size(type);
    for (int64_t i = 0; i < m; i++) {
        void *to = ag_element(type, c, i * n), *other = rows ? ag_element(type, rows, i * n) : NULL;
        if (row && rows) kernels->value[AG_ADD]((size_t)n, to, other, row, NULL);
        else memcpy(to, row ? row : other, bytes);
    }
}

bool ag_product_plus(const ag_call *call, int64_t m, int64_t n, int64_t k, ag_matrix a, ag_matrix b, void *c, void *row,
                     void *rows, const ag_then *then) {
    ag_matrix out = ag_row_major_matrix(c, n);
    bool large = m > 1 && n > 1 && k > 1 && (double)m * (double)n * (double)k > AG_SMALL_PRODUCT, any = row || rows;
    if (large && (any || then))
        return matrix_matrix(call, m, n, k, 1, a, b, out, &(ag_addend){row, ag_row_major_matrix(rows, n), then});
    if (any) write_addend(call->type, m, n, c, row, rows);
    if (!ag_product(call, m, n, k, 1, a, b, out, !any)) return false;
    if (then) then->run(then->context, c, m, n, n);
    return true;
}
