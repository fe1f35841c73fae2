// The world around the Verilated accelerator: a clock, an AXI4-Lite master on its control port, and
// an AXI4 memory on its data ports, which also checks the protocol. Loaded from Python with ctypes.
//
// Every cycle is two evaluations: one with the clock low, after which the outputs that depend on
// this cycle's inputs are valid and are sampled; and one with the clock high, at which the
// registers change. The inputs of the next cycle are set after that.

#include <cstdarg>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <deque>
#include <memory>
#include <string>
#include <vector>

#include "Vtop.h"
#include "verilated.h"
#if VM_TRACE_VCD
#include "verilated_vcd_c.h"
using Trace = VerilatedVcdC;
#elif VM_TRACE_FST
#include "verilated_fst_c.h"
using Trace = VerilatedFstC;
#elif VM_TRACE_SAIF
#include "verilated_saif_c.h"
using Trace = VerilatedSaifC;
#endif
#if VM_COVERAGE
#include "verilated_cov.h"
#endif

#define API extern "C" __attribute__((visibility("default")))

namespace {

constexpr unsigned BYTES = DATA_BYTES;  // of a port's beat; from the command line, as is PORTS
constexpr unsigned PAGE = 4096;
constexpr size_t EARLY = 20;  // beats taken before their address: more than a burst of 16
enum Response : uint8_t { OKAY = 0, SLVERR = 2, DECERR = 3 };

struct Timing {
    uint32_t read_latency;    // cycles from the address to the first beat
    uint32_t write_latency;   // cycles from the last beat to the response
    uint32_t outstanding;     // bursts that each direction accepts before it answers the first
    uint32_t stall;           // chance of a pause, per channel and cycle, in 1/65536
    uint32_t refresh_every;   // of so many cycles (0: never)
    uint32_t refresh_cycles;  // nothing moves in the last ones
    uint64_t bytes_per_1024;  // bytes moved in 1024 cycles, both directions together; 0: no limit
    uint64_t seed;
};

struct Statistics {
    uint64_t read_bursts, read_beats, write_bursts, write_beats;
};

// One burst of the first port; cycles as nbqnn_cycles counts them.
struct Burst {
    uint64_t address, begin, end;  // begin: the address is taken; end: the last beat, the response
    uint32_t beats, writes;
};

struct Fault {
    uint64_t begin, end;
    uint8_t response;
};

// What a master must hold from the cycle it raises valid until the handshake.
template <size_t N>
struct Offer {
    bool waiting = false;
    uint8_t held[N];

    // False if a waiting offer was withdrawn or changed.
    bool check(bool valid, bool ready, const uint8_t* now) {
        const bool good = !waiting || (valid && std::memcmp(held, now, N) == 0);
        waiting = valid && !ready;
        if (waiting) std::memcpy(held, now, N);
        return good;
    }
};

struct ReadBurst {
    uint64_t address, ready_at;
    unsigned beats;
};
struct WriteBeat {
    uint8_t data[BYTES];
    uint64_t strobes;
    bool last;
};
struct PlacedBeat {
    uint64_t address;
    WriteBeat beat;
};
struct WriteBurst {
    uint64_t address;
    unsigned beats;  // that have not come yet
    uint8_t response;
    std::vector<PlacedBeat> placed;
};
struct WriteResponse {
    uint64_t ready_at;
    uint8_t response;
    std::vector<PlacedBeat> placed;  // memory shows them with the response, not before
};

// Signals of a data port: m_axi_* of a design with one, m_axi0_*, m_axi1_* ... of one with several.
#define SIGNALS(DO) \
    DO(araddr) DO(arlen) DO(arsize) DO(arburst) DO(arcache) DO(arprot) DO(arvalid) DO(arready) \
    DO(rid) DO(rdata) DO(rresp) DO(rlast) DO(rvalid) DO(rready) \
    DO(awaddr) DO(awlen) DO(awsize) DO(awburst) DO(awcache) DO(awprot) DO(awvalid) DO(awready) \
    DO(wdata) DO(wstrb) DO(wlast) DO(wvalid) DO(wready) DO(bid) DO(bresp) DO(bvalid) DO(bready)

#if PORTS == 1
#define FIRST(name) m_axi_##name
#else
#define FIRST(name) m_axi0_##name
#endif

struct Port {
#define MEMBER(name) decltype(Vtop::FIRST(name)) name;
    SIGNALS(MEMBER)

    std::deque<ReadBurst> reads;
    std::deque<WriteBurst> writes;  // announced, with data to come
    std::deque<WriteBeat> beats;    // taken before their burst was announced
    std::deque<WriteResponse> responses;
    bool read_taken = false, response_taken = false, data_offered = false;
    Offer<13> ar_offer, aw_offer;
    Offer<BYTES + sizeof(uint64_t) + 1> w_offer;

    void reset() {
        reads.clear();
        writes.clear();
        beats.clear();
        responses.clear();
        ar_offer = {};
        aw_offer = {};
        w_offer = {};
        read_taken = response_taken = data_offered = false;
        rvalid = bvalid = 0;
        arready = awready = wready = 0;
    }
};

class Simulator {
public:
    Simulator() : top_(std::make_unique<Vtop>(traceable(&context_), "top")) {
#define FROM_FIRST(name) top_->FIRST(name),
#define FROM_1(name) top_->m_axi1_##name,
#define FROM_2(name) top_->m_axi2_##name,
#define FROM_3(name) top_->m_axi3_##name,
        ports_.push_back({SIGNALS(FROM_FIRST)});
#if PORTS > 1
        ports_.push_back({SIGNALS(FROM_1)});
#endif
#if PORTS > 2
        ports_.push_back({SIGNALS(FROM_2)});
        ports_.push_back({SIGNALS(FROM_3)});
#endif
        timing_ = Timing{32, 16, 16, 0, 0, 0, 0, 1};
        random_ = 1;
    }

    ~Simulator() {
        stop_trace();
        top_->final();
    }

    void memory(uint8_t* data, uint64_t base, uint64_t size) {
        memory_ = data;
        base_ = base;
        size_ = size;
    }

    // With stalls, the seed also says in which of the ways that AXI allows writes are taken.
    void timing(const Timing& timing) {
        timing_ = timing;
        const uint64_t manner = timing.seed * 0x9E3779B97F4A7C15ull >> 32;
        data_first_ = timing.stall && manner & 1;
        address_waits_ = timing.stall && manner & 2;
        // Zero is the one state that the generator never leaves.
        random_ = timing.seed * 2 + 1;
    }

    void fault(uint64_t begin, uint64_t end, uint8_t response) {
        faults_.push_back({begin, end, response});
    }
    void clear_faults() { faults_.clear(); }

    // From the next cycle on; false if the model was built without.
    bool start_trace(const char* path, uint64_t half_period) {
#if VM_TRACE
        stop_trace();
        trace_ = std::make_unique<Trace>();
        top_->trace(trace_.get(), 99);
        trace_->open(path);
        half_period_ = half_period;
        traced_ = 0;
        return trace_->isOpen();
#else
        (void)path, (void)half_period;
        return false;
#endif
    }

    void stop_trace() {
#if VM_TRACE
        if (trace_) trace_->close();
        trace_.reset();
#endif
    }

    bool write_coverage(const char* path) {
#if VM_COVERAGE
        context_.coveragep()->write(path);
        return true;
#else
        (void)path;
        return false;
#endif
    }

    // From now on all bursts are kept; those from before are dropped.
    void keep_bursts() {
        keeps_ = true;
        bursts_.clear();
        reading_ = writing_ = 0;
    }
    const std::vector<Burst>& bursts() const { return bursts_; }

    void reset(uint64_t cycles) {
        keeps_ = false;
        for (Port& port : ports_) port.reset();
        error_.clear();
        tokens_ = 0;
        top_->s_axi_awvalid = top_->s_axi_wvalid = top_->s_axi_bready = 0;
        top_->s_axi_arvalid = top_->s_axi_rready = 0;
        top_->s_axi_awprot = top_->s_axi_arprot = 0;
        top_->rst = 1;
        in_reset_ = true;
        while (cycles--) cycle();
        top_->rst = 0;
        in_reset_ = false;
    }

    // Response, or -1 after an error or when there was none in time.
    int write(uint64_t address, uint32_t value, uint64_t timeout) {
        top_->s_axi_awaddr = address;
        top_->s_axi_wdata = value;
        top_->s_axi_wstrb = 0xF;
        top_->s_axi_awvalid = top_->s_axi_wvalid = top_->s_axi_bready = 1;
        for (; timeout && error_.empty(); --timeout) {
            cycle();
            if (lite_.awready) top_->s_axi_awvalid = 0;
            if (lite_.wready) top_->s_axi_wvalid = 0;
            if (lite_.bvalid) {
                top_->s_axi_bready = 0;
                return lite_.bresp;
            }
        }
        fail("no response to a write of register 0x%llx", (unsigned long long)address);
        return -1;
    }

    int read(uint64_t address, uint32_t* value, uint64_t timeout) {
        top_->s_axi_araddr = address;
        top_->s_axi_arvalid = top_->s_axi_rready = 1;
        for (; timeout && error_.empty(); --timeout) {
            cycle();
            if (lite_.arready) top_->s_axi_arvalid = 0;
            if (lite_.rvalid) {
                top_->s_axi_rready = 0;
                *value = lite_.rdata;
                return lite_.rresp;
            }
        }
        fail("no response to a read of register 0x%llx", (unsigned long long)address);
        return -1;
    }

    // Cycles run: fewer than asked for after an error or, if wanted, at an interrupt.
    uint64_t run(uint64_t cycles, bool until_interrupt) {
        uint64_t done = 0;
        while (done < cycles && error_.empty() && !(until_interrupt && irq_)) {
            cycle();
            ++done;
        }
        return done;
    }

    bool irq() const { return irq_; }
    uint64_t cycles() const { return now_; }
    const char* error() const { return error_.c_str(); }
    const Statistics& statistics() const { return statistics_; }

private:
    // Must be said before the model is made.
    static VerilatedContext* traceable(VerilatedContext* context) {
        context->traceEverOn(VM_TRACE);
        return context;
    }

    void trace() {
#if VM_TRACE
        if (trace_) trace_->dump(half_period_ * traced_++);
#endif
    }

    void cycle() {
        top_->clk = 0;
        top_->eval();
        trace();
        sample();
        top_->clk = 1;
        top_->eval();
        trace();
        ++now_;
        if (!in_reset_) drive();
    }

    // Looks at this cycle's handshakes, before the registers change.
    void sample() {
        irq_ = top_->irq;
        lite_.awready = top_->s_axi_awready;
        lite_.wready = top_->s_axi_wready;
        lite_.bvalid = top_->s_axi_bvalid;
        lite_.bresp = top_->s_axi_bresp;
        lite_.arready = top_->s_axi_arready;
        lite_.rvalid = top_->s_axi_rvalid;
        lite_.rresp = top_->s_axi_rresp;
        lite_.rdata = top_->s_axi_rdata;
        if (in_reset_) return;
        for (Port& port : ports_) {
            sample_read(port);
            sample_write(port);
        }
    }

    void sample_read(Port& port) {
        const bool valid = port.arvalid, ready = port.arready;
        if (valid || port.ar_offer.waiting) {
            uint8_t now[13];
            address_bytes(now, port.araddr, port.arlen, port.arsize, port.arburst, port.arcache,
                          port.arprot);
            if (!port.ar_offer.check(valid, ready, now)) fail("AR changed before it was accepted");
        }
        if (valid && ready) {
            const uint64_t address = port.araddr;
            const unsigned beats = port.arlen + 1u;
            check_burst("AR", address, beats, port.arsize, port.arburst);
            port.reads.push_back({address, now_ + timing_.read_latency, beats});
            ++statistics_.read_bursts;
            keep(port, address, beats, false);
        }
        if (port.rvalid && port.rready) {
            port.read_taken = true;
            ++statistics_.read_beats;
            if (port.rlast) ended(port, reading_, false);
        }
    }

    void sample_write(Port& port) {
        const bool aw_valid = port.awvalid, aw_ready = port.awready;
        if (aw_valid || port.aw_offer.waiting) {
            uint8_t now[13];
            address_bytes(now, port.awaddr, port.awlen, port.awsize, port.awburst, port.awcache,
                          port.awprot);
            if (!port.aw_offer.check(aw_valid, aw_ready, now))
                fail("AW changed before it was accepted");
        }
        if (aw_valid && aw_ready) {
            const uint64_t address = port.awaddr;
            const unsigned beats = port.awlen + 1u;
            check_burst("AW", address, beats, port.awsize, port.awburst);
            port.writes.push_back({address, beats, OKAY, {}});
            ++statistics_.write_bursts;
            keep(port, address, beats, true);
        }
        const bool w_valid = port.wvalid, w_ready = port.wready;
        if (w_valid || port.w_offer.waiting) {
            uint8_t now[BYTES + sizeof(uint64_t) + 1];
            std::memcpy(now, &port.wdata, BYTES);
            const uint64_t strobes = port.wstrb;
            std::memcpy(now + BYTES, &strobes, sizeof strobes);
            now[BYTES + sizeof strobes] = port.wlast;
            if (!port.w_offer.check(w_valid, w_ready, now))
                fail("W changed before it was accepted");
            if (w_valid && w_ready) {
                WriteBeat beat;
                std::memcpy(beat.data, now, BYTES);
                beat.strobes = strobes;
                beat.last = port.wlast;
                port.beats.push_back(beat);
                ++statistics_.write_beats;
                if (timing_.bytes_per_1024) tokens_ -= BYTES * 1024ll;
            }
        }
        port.data_offered = w_valid && !w_ready;
        while (!port.writes.empty() && !port.beats.empty()) place_beat(port);
        if (port.bvalid && port.bready) {
            port.response_taken = true;
            ended(port, writing_, true);
        }
    }

    void keep(const Port& port, uint64_t address, unsigned beats, bool writes) {
        if (keeps_ && &port == &ports_[0]) bursts_.push_back({address, now_, 0, beats, writes});
    }

    // Each direction's bursts end in their order; all those before ``at`` have.
    void ended(const Port& port, size_t& at, bool writes) {
        if (!keeps_ || &port != &ports_[0]) return;
        while (at < bursts_.size() && bursts_[at].writes != writes) ++at;
        if (at < bursts_.size()) bursts_[at++].end = now_;
    }

    // The oldest beat belongs to the oldest announced burst that lacks data.
    void place_beat(Port& port) {
        WriteBurst& burst = port.writes.front();
        const WriteBeat beat = port.beats.front();
        port.beats.pop_front();
        if (beat.last != (burst.beats == 1)) {
            fail("WLAST is %d with %u beats of the burst to go", beat.last, burst.beats);
            return;
        }
        const uint8_t response = response_at(burst.address);
        if (response == OKAY)
            burst.placed.push_back({burst.address, beat});
        else if (response > burst.response)
            burst.response = response;
        burst.address += BYTES;
        if (--burst.beats == 0) {
            port.responses.push_back(
                {now_ + timing_.write_latency, burst.response, std::move(burst.placed)});
            port.writes.pop_front();
        }
    }

    void show(const std::vector<PlacedBeat>& placed) {
        for (const PlacedBeat& one : placed) {
            uint8_t* target = memory_ + (one.address - base_);
            for (unsigned i = 0; i < BYTES; ++i)
                if (one.beat.strobes >> i & 1) target[i] = one.beat.data[i];
        }
    }

    // Sets the inputs of the next cycle.
    void drive() {
        if (timing_.bytes_per_1024) {
            // Unused bandwidth is not saved up beyond two beats of all ports.
            const int64_t most = 2048ll * BYTES * PORTS + timing_.bytes_per_1024;
            tokens_ += timing_.bytes_per_1024;
            if (tokens_ > most) tokens_ = most;
        }
        refreshing_ = timing_.refresh_every && now_ % timing_.refresh_every >=
                                                   timing_.refresh_every - timing_.refresh_cycles;
        // Each port in turn is the first to be given what there is.
        for (unsigned i = 0; i < PORTS; ++i) drive(ports_[(now_ + i) % PORTS]);
    }

    void drive(Port& port) {
        bool enough = has_tokens();
        port.arready = port.reads.size() < timing_.outstanding && !pause();
        if (port.read_taken) {
            port.read_taken = false;
            port.rvalid = 0;
        }
        if (!port.rvalid && !port.reads.empty() && port.reads.front().ready_at <= now_ && enough &&
            !pause()) {
            ReadBurst& burst = port.reads.front();
            const uint8_t response = response_at(burst.address);
            if (response == OKAY)
                std::memcpy(&port.rdata, memory_ + (burst.address - base_), BYTES);
            else
                std::memset(&port.rdata, 0, BYTES);
            port.rresp = response;
            port.rid = 0;
            port.rlast = burst.beats == 1;
            port.rvalid = 1;
            if (timing_.bytes_per_1024) {
                tokens_ -= BYTES * 1024ll;
                enough = has_tokens();
            }
            burst.address += BYTES;
            if (--burst.beats == 0) port.reads.pop_front();
        }

        port.awready =
            port.writes.size() + port.responses.size() < timing_.outstanding && !pause() &&
            // Data that is offered but not taken, or that came before.
            (!address_waits_ || port.data_offered || !port.beats.empty());
        const bool expected = !port.writes.empty() || (data_first_ && port.beats.size() < EARLY);
        port.wready = expected && enough && !pause();
        if (port.response_taken) {
            port.response_taken = false;
            port.bvalid = 0;
            port.responses.pop_front();
        }
        if (!port.bvalid && !port.responses.empty() && port.responses.front().ready_at <= now_ &&
            !pause()) {
            show(port.responses.front().placed);
            port.bid = 0;
            port.bresp = port.responses.front().response;
            port.bvalid = 1;
        }
    }

    bool has_tokens() const {
        if (refreshing_) return false;
        return !timing_.bytes_per_1024 || tokens_ >= int64_t(BYTES) * 1024;
    }

    template <class... Small>
    static void address_bytes(uint8_t* to, uint64_t address, Small... small) {
        std::memcpy(to, &address, sizeof address);
        to += sizeof address;
        ((*to++ = small), ...);
    }

    void check_burst(const char* channel, uint64_t address, unsigned beats, unsigned size,
                     unsigned type) {
        if (1u << size != BYTES)
            fail("%s asks for beats of %u bytes on a bus of %u", channel, 1u << size, BYTES);
        else if (type != 1)
            fail("%s asks for burst type %u, not 1 (incrementing)", channel, type);
        else if (address % BYTES)
            fail("%s has address 0x%llx, which is no multiple of %u", channel,
                 (unsigned long long)address, BYTES);
        else if (address % PAGE + beats * BYTES > PAGE)
            fail("%s asks for %u beats from 0x%llx, across a 4 KiB boundary", channel, beats,
                 (unsigned long long)address);
    }

    uint8_t response_at(uint64_t address) const {
        for (const Fault& fault : faults_)
            if (address + BYTES > fault.begin && address < fault.end) return fault.response;
        if (address < base_ || size_ < BYTES || address - base_ > size_ - BYTES) return DECERR;
        return OKAY;
    }

    // True with the chance that was asked for. (xorshift64)
    bool pause() {
        if (!timing_.stall) return false;
        random_ ^= random_ << 13;
        random_ ^= random_ >> 7;
        random_ ^= random_ << 17;
        return (random_ >> 24 & 0xFFFF) < timing_.stall;
    }

    // Keeps the first error.
    void fail(const char* format, ...) {
        if (!error_.empty()) return;
        char text[256];
        va_list arguments;
        va_start(arguments, format);
        std::vsnprintf(text, sizeof text, format, arguments);
        va_end(arguments);
        error_ = text;
    }

    VerilatedContext context_;
    std::unique_ptr<Vtop> top_;
#if VM_TRACE
    std::unique_ptr<Trace> trace_;
    uint64_t half_period_ = 0, traced_ = 0;  // picoseconds; half periods since it began
#endif
    uint8_t* memory_ = nullptr;
    uint64_t base_ = 0, size_ = 0;
    Timing timing_;
    uint64_t random_;
    int64_t tokens_ = 0;  // bytes that may be moved, times 1024
    bool refreshing_ = false;
    bool data_first_ = false;     // takes data before its address
    bool address_waits_ = false;  // takes no address before its data is offered
    std::vector<Fault> faults_;
    std::vector<Port> ports_;
    struct {
        bool awready, wready, bvalid, arready, rvalid;
        uint8_t bresp, rresp;
        uint32_t rdata;
    } lite_{};
    bool irq_ = false, in_reset_ = false;
    uint64_t now_ = 0;
    Statistics statistics_{};
    bool keeps_ = false;
    std::vector<Burst> bursts_;
    size_t reading_ = 0, writing_ = 0;  // where the oldest burst of each direction may be
    std::string error_;
};

}  // namespace

API Simulator* nbqnn_new() { return new Simulator; }
API void nbqnn_delete(Simulator* simulator) { delete simulator; }
API void nbqnn_memory(Simulator* simulator, uint8_t* data, uint64_t base, uint64_t size) {
    simulator->memory(data, base, size);
}
API void nbqnn_timing(Simulator* simulator, const Timing* timing) { simulator->timing(*timing); }
API void nbqnn_fault(Simulator* simulator, uint64_t begin, uint64_t end, uint8_t response) {
    simulator->fault(begin, end, response);
}
API void nbqnn_clear_faults(Simulator* simulator) { simulator->clear_faults(); }
API bool nbqnn_start_trace(Simulator* simulator, const char* path, uint64_t half_period) {
    return simulator->start_trace(path, half_period);
}
API void nbqnn_stop_trace(Simulator* simulator) { simulator->stop_trace(); }
API bool nbqnn_coverage(Simulator* simulator, const char* path) {
    return simulator->write_coverage(path);
}
API void nbqnn_reset(Simulator* simulator, uint64_t cycles) { simulator->reset(cycles); }
API int nbqnn_write(Simulator* simulator, uint64_t address, uint32_t value, uint64_t timeout) {
    return simulator->write(address, value, timeout);
}
API int nbqnn_read(Simulator* simulator, uint64_t address, uint32_t* value, uint64_t timeout) {
    return simulator->read(address, value, timeout);
}
API uint64_t nbqnn_run(Simulator* simulator, uint64_t cycles, bool until_interrupt) {
    return simulator->run(cycles, until_interrupt);
}
API void nbqnn_keep_bursts(Simulator* simulator) { simulator->keep_bursts(); }
API const Burst* nbqnn_bursts(Simulator* simulator, uint64_t* count) {
    *count = simulator->bursts().size();
    return simulator->bursts().data();
}
API bool nbqnn_irq(Simulator* simulator) { return simulator->irq(); }
API uint64_t nbqnn_cycles(Simulator* simulator) { return simulator->cycles(); }
API const char* nbqnn_error(Simulator* simulator) { return simulator->error(); }
API void nbqnn_statistics(Simulator* simulator, Statistics* statistics) {
    *statistics = simulator->statistics();
}
