// Owns every local worker process of this gateway: starts one on the first request, waits until it is ready,
// counts who uses it, stops it after idling, starts it again after a crash. life.hpp decides, this carries
// out.
//
// One for the process, owned by the runtime. It has a thread of its own; every function may be called on any
// thread and none waits, except stop(). What it does is told to `log`, a worker's own lines included, always
// on its thread.
//   ensure() -> ready_worker          slow path: start and wait
//   use()    -> lease                 fast path: one short lock
#pragma once

#include "config/settings.hpp"
#include "message/failure.hpp"
#include "workers/life.hpp"

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace gw::workers {

enum class severity : std::uint8_t { info, warning, error };

using log_fields = std::vector<std::pair<std::string_view, std::string>>;
// One JSON line: `text`, and `fields` beside it. Lines that a worker wrote have the field `from` = "worker".
using log_fn = std::function<void(severity, std::string_view text, const log_fields& fields)>;

// One worker, for GET /workers.
struct worker_status
{
    std::string upstream;
    std::string model;
    std::string state; // stopped, starting, ready, stopping, down
    int pid = 0;       // 0: no process
    std::uint16_t port = 0;
    std::size_t in_flight = 0;
    std::uint64_t starts = 0;
    std::uint64_t crashes = 0;
    std::chrono::system_clock::time_point since; // of the state
    std::string last_end;                        // how its last process ended; empty: none has
    std::vector<std::string> last_lines;         // of its output, at most 20, oldest first
};

// How often and how long a worker is asked for its health.
struct rhythm
{
    milliseconds first_pause{100}; // between two questions while it starts; more as it takes longer
    milliseconds pause{250};
    milliseconds answer{5'000};   // for one answer
    milliseconds silence{30'000}; // a ready worker that was lost: silent or ill for so long, it is replaced
};

struct cell;
class core;

// A request that uses a worker: while it lives, the worker is not stopped for idling. Outliving the
// supervisor is fine.
class lease
{
public:
    lease() = default;
    lease(lease&& other) noexcept = default;
    lease& operator=(lease&& other) noexcept;
    ~lease();

    [[nodiscard]] explicit operator bool() const { return cell_ != nullptr; }
    [[nodiscard]] const ready_worker& where() const { return where_; } // REQUIRES *this
    void give_back();

private:
    friend class supervisor;
    lease(std::shared_ptr<cell> from, ready_worker where);

    std::shared_ptr<cell> cell_;
    ready_worker where_;
};

// REQUIRES of every function that takes an upstream: it has `run`. A name that only a pattern of the policy
// matched must not come here (workers_of() says which do): clients would choose how many processes run.
class supervisor
{
public:
    using answer_fn = std::move_only_function<void(result<ready_worker>)>;

    //   executable   this binary, whose main() calls run_launcher(); best /proc/self/exe
    supervisor(log_fn log, std::string executable, const rhythm& times = {});
    supervisor(const supervisor&) = delete;
    supervisor& operator=(const supervisor&) = delete;
    ~supervisor(); // stop()

    // Makes it ready: `then` is called exactly once, on the supervisor's thread (after stop(): on the
    // caller's, at once). However many ask, one process starts. A start is not given up when those who asked
    // have left.
    //   unavailable   it ended or was not ready in time (the next call starts another, after a rest);
    //                 it rests after crashes or is marked down (with retry_after); a reload removed it;
    //                 the gateway stops. `text` names it and says where its lines are, `detail` has them
    //   warming       more than max_waiting wait already (with retry_after)
    void ensure(const config::upstream& to, std::string_view model, answer_fn then);

    // Where it listens, if it is ready now.
    [[nodiscard]] std::optional<ready_worker> ready(const config::upstream& to, std::string_view model) const;

    // The same and counts the request. Empty: not ready, ask ensure().
    [[nodiscard]] lease use(const config::upstream& to, std::string_view model);

    // A request to this start of it was refused, reset or timed out. It is asked for its health: one that
    // refuses is replaced, and so is one that gives no 200 for rhythm::silence. Calls for an earlier
    // generation do nothing.
    void lost(const config::upstream& to, std::string_view model, std::uint64_t generation);

    // It answers garbage or without end: replaced at once. `why` goes to the log.
    void
    replace(const config::upstream& to, std::string_view model, std::uint64_t generation, std::string why);

    // After a reload, to be called with each new settings before requests use them. Workers that they name
    // live on, with their new times. The others serve the requests they have for up to 30 s and stop; one
    // with the same upstream and model starts only after they have exited.
    void keep(const config::settings& now);

    // SIGKILL to all that run: for a stop that has no time.
    void kill();

    // Ends all: SIGTERM, SIGKILL after their stop_timeout; returns when none is left. May be called again.
    // REQUIRES not on the supervisor's own thread
    void stop();

    // By upstream and model.
    [[nodiscard]] std::vector<worker_status> snapshot() const;

private:
    std::shared_ptr<core> core_;
};

} // namespace gw::workers
