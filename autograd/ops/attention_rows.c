/* Attention of one head with care, number by number: what is not seen is not touched, so that infinities and NaN there do
 * not matter, and probabilities are those of softmax.c for infinite scores. And the adjoint of its adjoint. */
#include "attention_rows_impl.h"
#include "structural_impl.h"
#include <math.h>

static double at(const ag_careful *c, const ag_head_rows *x, int64_t i, int64_t j) {
    return ag_load(c->type, x->data, i * x->row + j * x->col);
}

static void add(const ag_careful *c, const ag_head_rows *x, int64_t i, int64_t j, double term) {
    int64_t place = i * x->row + j * x->col;
    ag_store(c->type, x->data, place, ag_load(c->type, x->data, place) + term);
}

static double dot(const ag_careful *c, int64_t width, const ag_head_rows *x, int64_t i, const ag_head_rows *y,
                  int64_t j) {
    double sum = 0;
    for (int64_t d = 0; d < width; d++) sum += at(c, x, i, d) * at(c, y, j, d);
    return sum;
}

static bool sees(const ag_careful *c, int64_t i, int64_t j) {
    const ag_attend *p = c->head;
    return !ag_is_causal_end(p, i, j) && (!p->keep || ag_load(c->type, p->keep, j * p->keep_step) != 0);
}

/* The probabilities of query i; 0 where it does not see. */
static void probabilities(const ag_careful *c, int64_t i, double *p) {
    const ag_attend *h = c->head;
    double most = -HUGE_VAL, sum = 0;
    int64_t infinite = 0;
    for (int64_t j = 0; j < h->keys; j++) {
        if (!sees(c, i, j)) continue;
        p[j] = h->scale * dot(c, h->width, &h->q, i, &h->k, j);
        if (c->type == AG_F32) p[j] = (float)p[j];
        infinite += p[j] == HUGE_VAL;
        if (!(p[j] <= most)) most = isnan(most) ? most : p[j];
    }
    for (int64_t j = 0; j < h->keys; j++) {
        if (!sees(c, i, j) || most == -HUGE_VAL) p[j] = 0;
        else if (isnan(most)) p[j] = most;
        else if (infinite) p[j] = p[j] == HUGE_VAL ? 1 : 0;
        else p[j] = exp(p[j] - most);
        sum += p[j];
    }
    for (int64_t j = 0; sum != 0 && j < h->keys; j++) p[j] /= sum;
}

void ag_attend_carefully(const ag_careful *c) {
    const ag_attend *h = c->head;
    double *p = c->rows;
    for (int64_t i = 0; i < h->queries; i++) {
        probabilities(c, i, p);
        for (int64_t d = 0; d < h->values; d++) {
            double sum = 0;
            for (int64_t j = 0; j < h->keys; j++)
                if (sees(c, i, j)) sum += ag_chain_number(p[j], at(c, &h->v, j, d));
            ag_store(c->type, h->out.data, i * h->out.row + d * h->out.col, sum);
        }
    }
}

static void clear(const ag_careful *c, int k, int64_t rows, int64_t width) {
    const ag_attend *h = c->head;
    for (int64_t i = 0; h->to[k].data && h->store[k] && i < rows; i++)
        for (int64_t d = 0; d < width; d++) ag_store(c->type, h->to[k].data, i * h->to[k].row + d * h->to[k].col, 0);
}

/* row = p (row - sum(p row)); the sum. */
static double softmax_back(const ag_careful *c, int64_t i, const double *p, double *row) {
    double mean = 0;
    for (int64_t j = 0; j < c->head->keys; j++)
        if (sees(c, i, j)) mean += ag_chain_number(p[j], row[j]);
    for (int64_t j = 0; j < c->head->keys; j++) row[j] = sees(c, i, j) ? ag_chain_number(p[j], row[j] - mean) : 0;
    return mean;
}

void ag_attend_back_carefully(const ag_careful *c) {
    const ag_attend *h = c->head;
    double *p = c->rows, *s = p + h->keys;
    clear(c, 0, h->queries, h->width);
    clear(c, 1, h->keys, h->width);
    clear(c, 2, h->keys, h->values);
    for (int64_t i = 0; i < h->queries; i++) {
        probabilities(c, i, p);
        for (int64_t j = 0; j < h->keys; j++) s[j] = sees(c, i, j) ? dot(c, h->values, &h->w, i, &h->v, j) : 0;
        softmax_back(c, i, p, s);
        for (int64_t j = 0; j < h->keys; j++) {
            if (!sees(c, i, j)) continue;
            for (int64_t d = 0; d < h->width; d++) {
                if (h->to[0].data) add(c, &h->to[0], i, d, h->scale * ag_chain_number(s[j], at(c, &h->k, j, d)));
                if (h->to[1].data) add(c, &h->to[1], j, d, h->scale * ag_chain_number(s[j], at(c, &h->q, i, d)));
            }
            for (int64_t d = 0; h->to[2].data && d < h->values; d++)
                add(c, &h->to[2], j, d, ag_chain_number(p[j], at(c, &h->w, i, d)));
        }
    }
}

/* With u = scale (a k' + q b'), g = w c' and r = sum(p u):
 *     e = p (u - r)        t = p (x - sum(p x)), x = g + u (w v') - u sum(p w v') - r (w v')
 *     dw = e v + p c       dv += e' w        dq = scale (t k + s b)        dk = scale (t' q + s' a) */
void ag_attend_back_twice(const ag_careful *c, const ag_head_rows along[3], const ag_head_rows to[4]) {
    const ag_attend *h = c->head;
    const ag_head_rows *a = &along[0], *b = &along[1], *g = &along[2];
    double *p = c->rows, *s = p + h->keys, *u = s + h->keys, *t = u + h->keys;
    for (int64_t i = 0; i < h->queries; i++) {
        probabilities(c, i, p);
        for (int64_t j = 0; j < h->keys; j++) {
            if (!sees(c, i, j)) continue;
            s[j] = t[j] = dot(c, h->values, &h->w, i, &h->v, j);
            u[j] = h->scale * (dot(c, h->width, a, i, &h->k, j) + dot(c, h->width, &h->q, i, b, j));
        }
        double mean = softmax_back(c, i, p, s), r = 0;
        for (int64_t j = 0; j < h->keys; j++)
            if (sees(c, i, j)) r += ag_chain_number(p[j], u[j]);
        for (int64_t j = 0; j < h->keys; j++)
            if (sees(c, i, j)) t[j] = dot(c, h->values, &h->w, i, g, j) + u[j] * (t[j] - mean) - r * t[j];
        softmax_back(c, i, p, t);
        for (int64_t j = 0; j < h->keys; j++) {
            if (!sees(c, i, j)) continue;
            double e = ag_chain_number(p[j], u[j] - r);
            for (int64_t d = 0; d < h->values; d++) {
                if (to[3].data) add(c, &to[3], i, d, e * at(c, &h->v, j, d) + p[j] * at(c, g, j, d));
                if (to[2].data) add(c, &to[2], j, d, e * at(c, &h->w, i, d));
            }
            for (int64_t d = 0; d < h->width; d++) {
                if (to[0].data) add(c, &to[0], i, d, h->scale * (t[j] * at(c, &h->k, j, d) + s[j] * at(c, b, j, d)));
                if (to[1].data) add(c, &to[1], j, d, h->scale * (t[j] * at(c, &h->q, i, d) + s[j] * at(c, a, i, d)));
            }
        }
    }
}
