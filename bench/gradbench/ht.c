/* Hand tracking: how far measured points are from the hand's surface, and the Jacobian by the pose theta (26 angles and
 * coordinates) and, in the "complicated" case, by the two coordinates us of each point within its triangle.
 *
 * A bone's transform is its parent's times its rest position times its rotation. A vertex moves with the bones by its
 * weights ("skinning"): v = sum_b weight_b T_b v0.
 *
 * So there are two programs: of the vertices, all of them or, if those are fewer, the ones that the points lie on; and of
 * one point, which is run for all points, each with its own vertices. */
#include "gradbench.h"

enum {
    THETA = 26,
    FINGERS = 5,
    FINGER_BONES = 4,
    FIRST_FINGER = 2,
    LEAST_BONES = FIRST_FINGER + FINGERS * FINGER_BONES - 1,
    CORNERS = 3
};

typedef struct ht {
    int64_t bones, points, all, vertices; /* vertices: all of the model, those that are computed */
    int corners;                          /* of a point: 1, or those of a triangle */
    bool complicated, mirrored;
    double *theta, *us, *measured;       /* (26), (points, 2), (points, 3) */
    double *relative, *inverse_absolute; /* (bones, 4, 4) */
    double *all_rest, *all_weights;      /* of every vertex of the model: rows of 4 and of bones */
    int64_t *needed;                     /* which vertices the points lie on: (points, corners) */
    double *rest, *weights;              /* of those that are computed: (vertices, 4), (vertices, bones) */
    int64_t *corner[CORNERS];            /* of each point, among those that are computed */
    int64_t *parents;                    /* -1 for a root */
    int64_t *x_angle, *z_angle;          /* by bone: which of (theta, 0) */
    ag_var *absolute;                    /* a var a bone, while it is traced */
    double *hand, *by_pose;              /* of vertices: (vertices, 3), (vertices, 3, 26) */
    double *result;
    ag_runner *of_vertices, *of_point;
} ht;

/* ---- input ---- */

/* The vertices that the points lie on: one each, or the three of a triangle. */
static int64_t *needed_vertices(gb_run *run, const json_t *data, const json_t *model, int64_t all) {
    ht *h = run->state;
    int64_t triangles[] = {GB_ANY, 3};
    if (!h->complicated) return gb_indices(run, data, "correspondences", 1, &h->points, 0, all - 1);
    const int64_t *corners = gb_indices(run, model, "triangles", 2, triangles, 0, all - 1);
    if (!corners) return NULL;
    const int64_t *triangle = gb_indices(run, data, "correspondences", 1, &h->points, 0, triangles[0] - 1);
    int64_t *out = triangle ? GB_INDICES(run, 3 * h->points) : NULL;
    for (int64_t i = 0; out && i < 3 * h->points; i++) out[i] = corners[3 * triangle[i / 3] + i % 3];
    return out;
}

static bool parse_model(gb_run *run, const json_t *model) {
    ht *h = run->state;
    h->bones = GB_ANY;
    h->parents = gb_indices(run, model, "parents", 1, &h->bones, -1, INT32_MAX);
    h->mirrored = gb_boolean(run, model, "is_mirrored");
    if (run->error[0]) return false;
    if (h->bones < LEAST_BONES)
        return gb_fail(run, "parents: expected %d bones or more, got %lld", LEAST_BONES, (long long)h->bones);
    for (int64_t i = 0; i < h->bones; i++)
        if (h->parents[i] >= i)
            return gb_fail(run, "parents[%lld] is %lld: a parent comes before its children", (long long)i,
                           (long long)h->parents[i]);
    int64_t matrices[] = {h->bones, 4, 4};
    h->relative = gb_tensor(run, model, "base_relatives", 3, matrices);
    h->inverse_absolute = gb_tensor(run, model, "inverse_base_absolutes", 3, matrices);
    h->absolute = gb_array(run, h->bones, sizeof *h->absolute);
    return !run->error[0];
}

/* Which vertices are computed, and where among them the points' are. */
static bool find_corners(gb_run *run) {
    ht *h = run->state;
    h->corners = h->complicated ? CORNERS : 1;
    bool pick = h->corners * h->points < h->all;
    h->vertices = pick ? h->corners * h->points : h->all;
    h->rest = pick ? GB_DOUBLES(run, h->vertices * 4) : h->all_rest;
    h->weights = pick ? GB_DOUBLES(run, h->vertices * h->bones) : h->all_weights;
    h->hand = GB_DOUBLES(run, h->vertices * 3);
    h->by_pose = GB_DOUBLES(run, h->vertices * 3 * THETA);
    h->result = GB_DOUBLES(run, 3 * h->points * (THETA + 2));
    for (int k = 0; k < h->corners; k++) {
        h->corner[k] = GB_INDICES(run, h->points);
        for (int64_t i = 0; h->corner[k] && i < h->points; i++)
            h->corner[k][i] = pick ? h->corners * i + k : h->needed[h->corners * i + k];
    }
    return !run->error[0];
}

static bool parse(gb_run *run, const json_t *input) {
    ht *h = run->state;
    int64_t theta = THETA, us[] = {GB_ANY, 2}, measured[] = {GB_ANY, 3}, rest[] = {GB_ANY, 4};
    const json_t *data = gb_member(run, input, "data"), *model = data ? gb_member(run, data, "model") : NULL;
    if (!model || !parse_model(run, model)) return false;
    h->theta = gb_tensor(run, input, "theta", 1, &theta);
    h->us = gb_tensor(run, input, "us", 2, us);
    h->measured = gb_tensor(run, data, "points", 2, measured);
    h->all_rest = gb_tensor(run, model, "base_positions", 2, rest);
    int64_t weights[] = {rest[0], h->bones};
    h->all_weights = gb_tensor(run, model, "weights", 2, weights);
    if (run->error[0]) return false;
    h->points = measured[0];
    h->complicated = us[0] != 0;
    if (h->points == 0) return gb_fail(run, "points: expected at least one");
    if (h->complicated && us[0] != h->points)
        return gb_fail(run, "us: expected %lld rows, as many as points, got %lld", (long long)h->points,
                       (long long)us[0]);
    h->needed = needed_vertices(run, data, model, rest[0]);
    if (!h->needed) return false;
    h->all = rest[0];
    return find_corners(run);
}

/* Each finger has a knuckle with two angles, two bones with one, and one with none. Other bones do not turn. */
static bool find_angles(gb_run *run) {
    ht *h = run->state;
    h->x_angle = GB_INDICES(run, h->bones);
    h->z_angle = GB_INDICES(run, h->bones);
    if (!h->x_angle || !h->z_angle) return false;
    for (int64_t i = 0; i < h->bones; i++) h->x_angle[i] = h->z_angle[i] = THETA;
    for (int finger = 0; finger < FINGERS; finger++) {
        int bone = FIRST_FINGER + FINGER_BONES * finger, angle = 6 + 4 * finger;
        h->x_angle[bone] = angle;
        h->z_angle[bone] = angle + 1;
        h->x_angle[bone + 1] = angle + 2;
        h->x_angle[bone + 2] = angle + 3;
    }
    return true;
}

/* ---- the model ---- */

/* A rotation about x by one angle, then about z by another, for each bone: (bones, 4, 4). */
static ag_var bone_rotations(const ht *h, ag_var theta) {
    ag_tape *t = ag_tape_of(theta);
    ag_var zero = ag_zeros(t, AG_SHAPE(h->bones)), one = ag_ones(t, AG_SHAPE(h->bones));
    ag_var parts[] = {theta, ag_zeros(t, AG_SHAPE(1))}, angles = ag_concat(parts, 2, 0);
    ag_var x = ag_gather(angles, 0, h->x_angle, h->bones), z = ag_gather(angles, 0, h->z_angle, h->bones);
    ag_var cx = ag_cos(x), sx = ag_sin(x), cz = ag_cos(z), sz = ag_sin(z);
    const ag_var elements[16] = {cz,
                                 ag_neg(ag_mul(sz, cx)),
                                 ag_mul(sz, sx),
                                 zero, /* */
                                 sz,
                                 ag_mul(cz, cx),
                                 ag_neg(ag_mul(cz, sx)),
                                 zero, /* */
                                 zero,
                                 sx,
                                 cx,
                                 zero, /* */
                                 zero,
                                 zero,
                                 zero,
                                 one};
    return ag_reshape(ag_stack(elements, 16, 1), AG_SHAPE(h->bones, 4, 4));
}

/* The rotation by an angle about an axis, given as their product; the identity if that is shorter than 0.0001. */
static ag_var global_rotation(ag_var product) {
    ag_var length = ag_norm(product), small = ag_lt(length, 1e-4);
    ag_var axis = ag_div(product, ag_select(small, 1, length));
    ag_var c = ag_select(small, 1, ag_cos(length)), s = ag_select(small, 0, ag_sin(length)), d = ag_sub(1, c);
    ag_var x = ag_at(axis, 0), y = ag_at(axis, 1), z = ag_at(axis, 2);
    ag_var xy = ag_mul(ag_mul(x, y), d), xz = ag_mul(ag_mul(x, z), d), yz = ag_mul(ag_mul(y, z), d);
    const ag_var elements[9] = {ag_fma(ag_mul(x, x), d, c), ag_fnma(z, s, xy),          ag_fma(y, s, xz),  /* */
                                ag_fma(z, s, xy),           ag_fma(ag_mul(y, y), d, c), ag_fnma(x, s, yz), /* */
                                ag_fnma(y, s, xz),          ag_fma(x, s, yz),           ag_fma(ag_mul(z, z), d, c)};
    return ag_reshape(ag_stack(elements, 9, 0), AG_SHAPE(3, 3));
}

enum { POSE, RELATIVE, INVERSE, REST, WEIGHTS, INPUTS };

/* The bones' transforms from the rest position, seen from outside the hand: (3, bones * 4). */
static ag_var transforms(ht *h, const ag_var *in) {
    ag_var posed = ag_matmul(in[RELATIVE], bone_rotations(h, in[POSE]));
    for (int64_t i = 0; i < h->bones; i++) {
        ag_var own = ag_index(posed, 0, i);
        h->absolute[i] = h->parents[i] < 0 ? own : ag_matmul(h->absolute[h->parents[i]], own);
    }
    ag_var all = ag_matmul(ag_stack(h->absolute, (int)h->bones, 0), in[INVERSE]);
    ag_var rows = ag_permute(ag_slice(all, 1, 0, 3, 1), AG_AXES(1, 0, 2)); /* (3, bones, 4) */
    const double mirror[3] = {h->mirrored ? -1 : 1, 1, 1};
    ag_var turn = ag_mul(global_rotation(ag_slice(in[POSE], 0, 0, 3, 1)),
                         ag_constant_tensor(ag_tape_of(in[POSE]), mirror, AG_SHAPE(3)));
    return ag_matmul(turn, ag_reshape(rows, AG_SHAPE(3, h->bones * 4)));
}

/* All vertices, (vertices, 3): each by the sum of the transforms by its weights. */
static ag_var place(const ht *h, const ag_var *in, ag_var transforms) {
    ag_var by_bone = ag_permute(ag_reshape(transforms, AG_SHAPE(3, h->bones, 4)), AG_AXES(1, 0, 2));
    ag_var blended = ag_matmul(in[WEIGHTS], ag_reshape(ag_contiguous(by_bone), AG_SHAPE(h->bones, 12)));
    ag_var turned = ag_mul(ag_reshape(blended, AG_SHAPE(h->vertices, 3, 4)), ag_unsqueeze(in[REST], 1));
    return ag_add(ag_sum_over(turned, AG_AXES(2), false), ag_slice(in[POSE], 0, 3, 6, 1));
}
static void vertices(ag_tape *tape, const ag_var *in, ag_var *out, void *context) {
    (void)tape;
    out[0] = place(context, in, transforms(context, in));
}
/* And their Jacobian, (vertices, 3, 26). A vertex is linear in the transforms: its row of the matrix (vertices, bones * 4)
 * does to their Jacobian what it does to them, so all of it is one product. */
static void vertices_by_pose(ag_tape *tape, const ag_var *in, ag_var *out, void *context) {
    ht *h = context;
    (void)tape;
    ag_var matrix = ag_mul(ag_unsqueeze(in[WEIGHTS], 2), ag_unsqueeze(in[REST], 1)), t = transforms(h, in);
    ag_var by_pose = ag_permute(ag_jacobian(t, in[POSE]), AG_AXES(1, 0, 2)); /* (bones * 4, 3, 26) */
    ag_var turned = ag_matmul(ag_reshape(matrix, AG_SHAPE(h->vertices, h->bones * 4)),
                              ag_reshape(ag_contiguous(by_pose), AG_SHAPE(h->bones * 4, 3 * THETA)));
    ag_var translation = ag_slice(in[POSE], 0, 3, 6, 1);
    out[0] = place(h, in, t);
    out[1] = ag_add(ag_reshape(turned, AG_SHAPE(h->vertices, 3, THETA)), ag_jacobian(translation, in[POSE]));
}

/* Measured minus modelled point, of inputs measured, us, corners. */
static ag_var error_of(const ht *h, const ag_var *in) {
    const ag_var *corner = in + 2;
    ag_var hand = corner[0];
    if (h->complicated) {
        ag_var u = ag_at(in[1], 0), v = ag_at(in[1], 1), w = ag_sub(ag_sub(1, u), v);
        hand = ag_add(ag_add(ag_mul(u, corner[0]), ag_mul(v, corner[1])), ag_mul(w, corner[2]));
    }
    return ag_sub(in[0], hand);
}
static void error(ag_tape *tape, const ag_var *in, ag_var *out, void *context) {
    (void)tape;
    out[0] = error_of(context, in);
}
/* (3, 26), or (3, 28) with the two of us first. After the corners, the inputs are the corners' Jacobians. */
static void jacobian(ag_tape *tape, const ag_var *in, ag_var *out, void *context) {
    const ht *h = context;
    (void)tape;
    ag_var y = error_of(h, in), column[THETA];
    const ag_var *corner = in + 2, *by_pose = corner + h->corners;
    for (int j = 0; j < THETA; j++) {
        ag_var direction[CORNERS];
        for (int k = 0; k < h->corners; k++) direction[k] = ag_index(by_pose[k], 1, j);
        ag_jvp(&y, 1, corner, direction, h->corners, &column[j]);
    }
    out[0] = ag_stack(column, THETA, -1);
    if (!h->complicated) return;
    ag_var parts[] = {ag_jacobian(y, in[1]), out[0]};
    out[0] = ag_concat(parts, 2, -1);
}

static bool prepare(gb_run *run, ag_model of_vertices, int outputs, ag_model of_point) {
    ht *h = run->state;
    ag_shape matrices = AG_SHAPE(h->bones, 4, 4);
    const ag_port in[INPUTS] = {[POSE] = ag_in("theta", AG_SHAPE(THETA)),
                                [RELATIVE] = ag_in("relative", matrices),
                                [INVERSE] = ag_in("inverse", matrices),
                                [REST] = ag_in("rest", AG_SHAPE(h->vertices, 4)),
                                [WEIGHTS] = ag_in("weights", AG_SHAPE(h->vertices, h->bones))};
    ag_port of_one[2 + 2 * CORNERS] = {ag_in("measured", AG_SHAPE(3)), ag_in("us", AG_SHAPE(h->complicated ? 2 : 0))};
    for (int k = 0; k < h->corners; k++) {
        of_one[2 + k] = ag_in(NULL, AG_SHAPE(3));
        of_one[2 + h->corners + k] = ag_in(NULL, AG_SHAPE(3, THETA));
    }
    if (!find_angles(run)) return false;
    h->of_vertices = gb_runner(run, ag_program_trace(AG_F64, of_vertices, h, in, INPUTS, NULL, outputs));
    h->of_point = gb_trace(run, of_point, h, of_one, 2 + outputs * h->corners, 0);
    return !run->error[0];
}
static bool prepare_error(gb_run *run) { return prepare(run, vertices, 1, error); }
static bool prepare_jacobian(gb_run *run) { return prepare(run, vertices_by_pose, 2, jacobian); }

static void pick(const ht *h, const double *rows, int64_t columns, double *out) {
    for (int64_t i = 0; i < h->vertices; i++)
        memcpy(out + i * columns, rows + h->needed[i] * columns, (size_t)columns * sizeof *out);
}

static void evaluate(gb_run *run) {
    ht *h = run->state;
    if (h->rest != h->all_rest) {
        pick(h, h->all_rest, 4, h->rest);
        pick(h, h->all_weights, h->bones, h->weights);
    }
    const double *in[INPUTS] = {h->theta, h->relative, h->inverse_absolute, h->rest, h->weights};
    gb_check(run, h->of_vertices, ag_run(h->of_vertices, in, (double *[]){h->hand, h->by_pose}));
    ag_column column[2 + 2 * CORNERS] = {ag_each(h->measured), ag_each(h->us)}, result = ag_each(h->result);
    for (int k = 0; k < h->corners; k++) {
        column[2 + k] = ag_indexed(h->hand, h->corner[k]);
        column[2 + h->corners + k] = ag_indexed(h->by_pose, h->corner[k]);
    }
    gb_check(run, h->of_point, ag_run_rows(h->of_point, h->points, column, &result));
}

static json_t *print_errors(gb_run *run) {
    ht *h = run->state;
    return gb_vector(h->result, 3 * h->points);
}

static json_t *print_jacobian(gb_run *run) {
    ht *h = run->state;
    return gb_matrix(h->result, 3 * h->points, h->complicated ? THETA + 2 : THETA);
}

const gb_function gb_ht[] = {{"ht", "objective", sizeof(ht), parse, prepare_error, evaluate, print_errors},
                             {"ht", "jacobian", sizeof(ht), parse, prepare_jacobian, evaluate, print_jacobian},
                             {0}};
