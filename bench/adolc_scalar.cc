// The scalar tape beside ADOL-C. ADOL-C records what its reverse sweep needs while it traces (keep = 1), in buffers that
// hold all of it, so that nothing is written to disk and the function is not evaluated again.
#include <adolc/adolc.h>

#include "scalar_beside.h"

namespace {

const short TAG = 1;

struct Adolc {
    using Number = adouble;
    unsigned buffer; // operations that the buffers have to hold
    int inputs = 0;

    explicit Adolc(size_t operations) : buffer(static_cast<unsigned>(operations) + 4096) {}

    template <class F> double record(const double *input, int count, F function) {
        adouble x[DET_MAX * DET_MAX], y;
        double value;
        inputs = count;
        trace_on(TAG, 1, 2 * buffer, 4 * buffer, 2 * buffer, 2 * buffer, 1);
        for (int i = 0; i < count; i++) x[i] <<= input[i];
        y = function(x);
        y >>= value;
        trace_off();
        return value;
    }
    void sweep(double *gradient) {
        double one = 1;
        if (fos_reverse(TAG, 1, inputs, &one, gradient) < 0) bench_wrong("ADOL-C's reverse sweep failed");
    }
    // Operations (a byte each), locations and values of the trace, and one Taylor coefficient for each result.
    double bytes() {
        size_t stats[STAT_SIZE];
        tapestats(TAG, stats);
        return 1.0 * static_cast<double>(stats[NUM_OPERATIONS]) +
               static_cast<double>(sizeof(locint)) * static_cast<double>(stats[NUM_LOCATIONS]) +
               8.0 * static_cast<double>(stats[NUM_VALUES] + stats[TAY_STACK_SIZE]);
    }
};

void chain(int steps, int rounds) {
    const beside::Form form = beside::CHAIN; // to ADOL-C a statement is its operations
    const char *name = "ADOL-C";
    beside::compare_chain<Adolc>(steps, rounds, &form, &name, 1);
}

} // namespace

int main() {
    bench_title("Scalar tape beside ADOL-C: recorded and swept every time",
                "an operation's ns and bytes (instructions and values, f64)");
    beside::compare_det<Adolc>(8, 21, "ADOL-C");
    beside::compare_det<Adolc>(9, 7, "ADOL-C");
    beside::compare_det<Adolc>(10, 3, "ADOL-C");
    chain(12500, 21);
    chain(125000, 7);
    return 0;
}
