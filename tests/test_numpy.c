/* Files that go to NumPy and come back, where it is installed. */
#include "data_files.h"

#include <sys/wait.h>

static const char *const pythons[] = {"python3", "/usr/bin/python3"};

/* Runs a script with NumPy, the temporary folder as its argument. False, and a message, if there is no NumPy. */
static bool run_python(const char *script) {
    char path[PATH_ROOM], command[3 * PATH_ROOM];
    (void)snprintf(path, sizeof path, "%s/script.py", temporary_folder);
    for (size_t i = 0; i < sizeof pythons / sizeof *pythons; i++) {
        (void)snprintf(command, sizeof command, "%s -c 'import numpy' >/dev/null 2>&1", pythons[i]);
        if (system(command) != 0) continue;
        write_bytes(path, script, strlen(script));
        (void)snprintf(command, sizeof command, "%s %s %s", pythons[i], path, temporary_folder);
        int status = system(command);
        assert_int_equal(unlink(path), 0);
        if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) fail_msg("the script failed");
        return true;
    }
    print_message("skipped: there is no Python with NumPy (python3-numpy)\n");
    return false;
}

/* 0, 1, 0, 1, ... so that every type can hold it. */
static nn_array make(nn_type type, ag_shape shape, nn_error *e) {
    nn_array ones = nn_array_new(NN_U8, shape, e);
    for (int64_t i = 0; i < nn_array_count(&ones); i++) ((uint8_t *)ones.data)[i] = (uint8_t)(i % 2);
    nn_array a = nn_array_convert(&ones, type, e);
    nn_array_free(&ones);
    return a;
}

static const char SCRIPT[] =
    "import sys, struct, json, numpy as np\n"
    "f = sys.argv[1]\n"
    "names = 'f4 f8 f2 - i1 i2 i4 i8 u1 u2 u4 u8 b1'.split()\n"
    "for rank in range(4):\n"
    "    for i, n in enumerate(names):\n"
    "        if n == '-': continue\n"
    "        a = np.load(f'{f}/{rank}_{i}.npy')\n"
    "        shape = (3, 2, 5)[:rank]\n"
    "        want = (np.arange(np.prod(shape, dtype=int)) % 2).reshape(shape).astype(n)\n"
    "        assert a.dtype == want.dtype and a.shape == shape and (a == want).all(), (rank, n)\n"
    "        np.save(f'{f}/{rank}_{i}.npy', a.astype('>' + n, order='F'))\n"
    "t = np.genfromtxt(f'{f}/t.csv', delimiter=',', names=True)\n"
    "assert t['a'].tolist() == [0.1, 1e-300, 3.0] and np.isnan(t['b'][1]), t\n"
    "b = open(f'{f}/w.safetensors', 'rb').read()\n"
    "n, = struct.unpack('<Q', b[:8])\n"
    "h = json.loads(b[8:8 + n])\n"
    "lo, hi = h['w']['data_offsets']\n"
    "w = np.frombuffer(b[8 + n:][lo:hi], '<f8').reshape(h['w']['shape'])\n"
    "assert w.tolist() == [[0, 1], [0, 1], [0, 1]] and h['__metadata__'] == {'k': 'v'}\n";

static void there_and_back(void **unused) {
    (void)unused;
    nn_error e = {0};
    char name[32];
    for (int rank = 0; rank <= 3; rank++)
        for (int type = NN_F32; type <= NN_BOOL; type++) {
            if (type == NN_BF16) continue;
            nn_array a = make((nn_type)type, (ag_shape){rank, {3, 2, 5}}, &e);
            (void)snprintf(name, sizeof name, "%d_%d.npy", rank, type);
            nn_npy_write(temporary(name), &a, &e);
            nn_array_free(&a);
        }
    double values[] = {0.1, 2, 1e-300, 0, 3, 4};
    values[3] = 0 * (1e308 * 10); /* NaN */
    char *names[] = {(char *)(uintptr_t) "a", (char *)(uintptr_t) "b"};
    nn_csv_write(temporary("t.csv"), &(nn_table){.values = {NN_F64, {2, {3, 2}}, values}, .names = names}, &e);
    nn_array w = make(NN_F64, AG_SHAPE(3, 2), &e);
    nn_safetensors_write(temporary("w.safetensors"), &(nn_tensor){"w", w.type, w.shape, w.data}, 1,
                         &(nn_text_pair){"k", "v"}, 1, &e);
    nn_array_free(&w);
    assert_fine(&e);
    bool ran = run_python(SCRIPT);
    for (int rank = 0; rank <= 3; rank++)
        for (int type = NN_F32; type <= NN_BOOL; type++) {
            if (type == NN_BF16) continue;
            (void)snprintf(name, sizeof name, "%d_%d.npy", rank, type);
            nn_array a = nn_npy_read(temporary(name), &e);
            assert_fine(&e);
            assert_true((int)a.type == type && a.shape.rank == rank);
            for (int64_t i = 0; i < nn_array_count(&a); i++) assert_true(nn_array_at(&a, i) == (double)(i % 2));
            nn_array_free(&a);
            assert_int_equal(unlink(temporary(name)), 0);
        }
    assert_int_equal(unlink(temporary("t.csv")), 0);
    assert_int_equal(unlink(temporary("w.safetensors")), 0);
    if (!ran) skip();
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(there_and_back)};
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
