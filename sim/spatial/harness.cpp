// A clock and two AXI4-Streams around a Verilated circuit; loaded from Python with ctypes.
//
// Every cycle is two evaluations: with the clock low, after which outputs are sampled, and with it
// high, at which registers change. Source and sink pause at random. What a source offers it keeps
// until it is taken; whether the circuit does so too is checked.

#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "Vtop.h"
#include "verilated.h"

#define API extern "C" __attribute__((visibility("default")))

namespace {

constexpr uint64_t PAUSE = 100;  // cycles between images at most

uint64_t state;

bool chance(uint32_t rate) {  // of 65536
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (state & 0xFFFF) < rate;
}

enum Outcome : int { DONE = 0, TIMEOUT = 1, WITHDRAWN = 2, LAST = 3 };

}  // namespace

// Streams images in, each of `in_beats` beats of IN_BYTES, and out, each of `out_beats` of OUT_BYTES.
// TLAST is set with the last beat of every third image and expected with the last of the same ones.
// Between images the source pauses at random too, longer. `entered` and `left` get the cycle of each
// handshake.
API int spatial_run(uint64_t images, uint64_t in_beats, uint64_t out_beats, const uint8_t* in,
                    uint8_t* out, uint64_t* entered, uint64_t* left, uint32_t source_stall,
                    uint32_t sink_stall, uint64_t seed, uint64_t max_cycles) {
    auto context = std::make_unique<VerilatedContext>();
    auto top = std::make_unique<Vtop>(context.get());
    state = seed * 2654435761u + 88172645463325252u;
    const uint64_t inputs = images * in_beats, outputs = images * out_beats;
    uint64_t sent = 0, received = 0, rest = 0;
    bool offered = false, waiting = false;
    std::vector<uint8_t> held(OUT_BYTES);
    top->rst = 1;
    top->s_axis_tvalid = 0;
    top->m_axis_tready = 0;
    for (int cycle = 0; cycle < 4; cycle++) {
        top->clk = 0;
        top->eval();
        top->clk = 1;
        top->eval();
    }
    top->rst = 0;
    for (uint64_t cycle = 0; received < outputs; cycle++) {
        if (cycle >= max_cycles) return TIMEOUT;
        if (rest) rest--;
        offered = sent < inputs && (offered || (!rest && !chance(source_stall)));
        top->s_axis_tvalid = offered;
        if (offered) {
            std::memcpy(&top->s_axis_tdata, in + sent * IN_BYTES, IN_BYTES);
            top->s_axis_tlast = sent % (3 * in_beats) == 3 * in_beats - 1;
        }
        top->m_axis_tready = !chance(sink_stall);
        top->clk = 0;
        top->eval();
        const bool taken = offered && top->s_axis_tready;
        const bool valid = top->m_axis_tvalid;
        const uint8_t* data = reinterpret_cast<const uint8_t*>(&top->m_axis_tdata);
        if (waiting && (!valid || std::memcmp(held.data(), data, OUT_BYTES))) return WITHDRAWN;
        const bool given = valid && top->m_axis_tready;
        waiting = valid && !given;
        std::memcpy(held.data(), data, OUT_BYTES);
        if (given) {
            if (top->m_axis_tlast != (received % (3 * out_beats) == 3 * out_beats - 1)) return LAST;
            std::memcpy(out + received * OUT_BYTES, data, OUT_BYTES);
            left[received++] = cycle;
        }
        top->clk = 1;
        top->eval();
        if (taken) {
            entered[sent++] = cycle;
            offered = false;
            if (sent % in_beats == 0 && chance(source_stall)) rest = 1 + state % PAUSE;
        }
    }
    return DONE;
}
