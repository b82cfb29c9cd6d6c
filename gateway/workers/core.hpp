// The supervisor's thread and what only it touches: processes, their sockets and timers. Functions marked
// "any thread" post to it.
#pragma once

#include "config/secret.hpp"
#include "workers/descriptor.hpp"
#include "workers/life.hpp"
#include "workers/lines.hpp"
#include "workers/probe.hpp"
#include "workers/spawn.hpp"
#include "workers/supervisor.hpp"
#include "workers/table.hpp"

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>

#include <array>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

namespace gw::workers {

// All that a start needs, copied from the settings, which may be gone by then.
struct recipe
{
    identity who;
    config::secret token; // empty unless `env` names it
    std::string ready;
    tunables how;
    std::size_t max_waiting = 0;
};

[[nodiscard]] recipe recipe_of(const config::upstream& to, std::string_view model);

class core : public std::enable_shared_from_this<core>
{
public:
    core(log_fn log, std::string executable, const rhythm& times);
    void start();
    void stop(); // any thread but its own; waits

    // Any thread.
    void ensure(recipe wanted, supervisor::answer_fn then);
    void look_at(const cell_ptr& one);
    void lost(const cell_ptr& one, std::uint64_t generation);
    void replace(const cell_ptr& one, std::uint64_t generation, std::string why);
    void keep(std::vector<recipe> named);
    [[nodiscard]] const table& cells() const { return cells_; }

private:
    // One process, from its launch until its launcher is reaped.
    struct run
    {
        run(boost::asio::io_context& context, launched&& from, ready_worker at, std::string secret);

        const ready_worker where;
        const pid_t launcher;
        const time_point launched_at;
        boost::asio::local::stream_protocol::socket control;
        boost::asio::posix::stream_descriptor output;
        boost::asio::steady_timer pause;
        std::array<char, 256> control_bytes{};
        std::array<char, 16 * 1024> output_bytes{};
        std::string reports; // of the launcher: what is not a whole line yet
        std::string end;     // how the worker ended, once told
        pid_t worker = 0;
        line_splitter splitter;
        time_point second; // lines logged in it
        std::size_t logged = 0;
        std::size_t dropped = 0;
        std::shared_ptr<probe> asking;
        probe_answer last_answer;
        std::optional<time_point> ill_since; // was lost, and has given no 200 since
        int refusals = 0;                    // in a row, since then
        bool over = false;
    };
    using run_ptr = std::shared_ptr<run>;

    // One worker, whether it has a process now or not.
    struct worker
    {
        worker(boost::asio::io_context& context, cell_ptr one, recipe from)
            : shared(std::move(one)), how(std::move(from)), timer(context)
        {
        }

        const cell_ptr shared;
        recipe how;
        boost::asio::steady_timer timer;
        std::vector<supervisor::answer_fn> waiting;
        run_ptr running;
    };
    using worker_ptr = std::shared_ptr<worker>;

    template <class Work>
    bool post(Work work);

    // Workers.
    worker_ptr find(const cell_ptr& one) const;
    result<worker_ptr> find_or_make(recipe wanted);
    void want(recipe wanted, supervisor::answer_fn then);
    void step(const worker_ptr& w);
    void arm(const worker_ptr& w, std::optional<time_point> when);
    void answer(const worker_ptr& w, const result<ready_worker>& what);
    void forget_if_gone(const worker_ptr& w);
    void condemn(const worker_ptr& w, std::uint64_t generation, const std::string& why);
    void close();

    // Processes.
    result<void> begin(const worker_ptr& w);
    result<std::uint16_t> choose_port() const;
    void read_control(const worker_ptr& w, const run_ptr& r);
    void read_output(const worker_ptr& w, const run_ptr& r);
    void take_report(const worker_ptr& w, const run_ptr& r, std::string_view line);
    void take_lines(const worker_ptr& w, const run_ptr& r, const std::vector<std::string>& lines);
    void drain(const worker_ptr& w, const run_ptr& r);
    void ask_later(const worker_ptr& w, const run_ptr& r, milliseconds delay);
    void take_answer(const worker_ptr& w, const run_ptr& r, const probe_answer& got);
    void gone(const worker_ptr& w, const run_ptr& r);
    void ended(const worker_ptr& w, const std::string& how, bool port_is_taken);

    [[nodiscard]] failure unavailable(const worker& w, const std::string& what) const;
    void tell(severity level, const worker& w, std::string_view text, log_fields more = {}) const;

    // Constant.
    const log_fn log_;
    const std::string executable_;
    const rhythm times_;
    const std::map<std::string, std::string> inherited_;

    // This thread only.
    boost::asio::io_context context_{1};
    boost::asio::executor_work_guard<boost::asio::io_context::executor_type> work_;
    std::vector<worker_ptr> workers_;
    std::optional<std::vector<identity>> named_; // by the last reload; nothing: there was none
    std::uint64_t generations_ = 0;
    bool closing_ = false;

    // Shared.
    table cells_;
    std::mutex lock_;     // guards closed_
    bool closed_ = false; // nothing is posted any more
    std::mutex joining_;
    std::thread thread_;
};

} // namespace gw::workers
