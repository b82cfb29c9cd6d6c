// The supervisor's thread and what only it touches: the workers, who waits for them, their timers. Functions
// marked "any thread" post to it.
#pragma once

#include "config/secret.hpp"
#include "workers/life.hpp"
#include "workers/lines.hpp"
#include "workers/process.hpp"
#include "workers/supervisor.hpp"
#include "workers/table.hpp"

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>

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
[[nodiscard]] std::string in_seconds(milliseconds time); // rounded up

class core : public std::enable_shared_from_this<core>
{
public:
    core(log_fn log, std::string executable, const rhythm& times);
    void start();
    void stop(); // any thread but its own; waits
    void kill(); // any thread

    // Any thread.
    void ensure(recipe wanted, supervisor::answer_fn then);
    void look_at(const cell_ptr& one);
    void lost(const cell_ptr& one, std::uint64_t generation);
    void replace(const cell_ptr& one, std::uint64_t generation, std::string why);
    void keep(std::vector<recipe> named);
    [[nodiscard]] const table& cells() const { return cells_; }

private:
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

        std::shared_ptr<process> running; // null: it has none
        line_gate gate;
        probe_answer last_answer;
        std::string blamed;                  // why it was stopped, when that was its own fault
        std::optional<time_point> ill_since; // was lost, and has given no 200 since
        int refusals = 0;                    // in a row, since then
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
    void give(supervisor::answer_fn& then, const result<ready_worker>& what) const;
    void answer(const worker_ptr& w, const result<ready_worker>& what);
    void forget_if_gone(const worker_ptr& w);
    void condemn(const worker_ptr& w, std::uint64_t generation, const std::string& why);
    void close();

    // Its process.
    result<void> begin(const worker_ptr& w);
    [[nodiscard]] result<std::uint16_t> choose_port() const;
    void ask(const worker_ptr& w, milliseconds delay) const;
    void take_answer(const worker_ptr& w, const probe_answer& got);
    void take_lines(const worker_ptr& w, const std::vector<std::string>& lines);
    void tell_dropped(const worker& w, std::size_t lines) const;
    void ended(const worker_ptr& w, const std::string& how, bool port_is_taken);

    [[nodiscard]] failure unavailable(const worker& w, const std::string& what) const;
    [[nodiscard]] failure
    failed(const worker& w, const std::string& what) const; // and its last lines tell why
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
    std::optional<std::vector<recipe>> named_; // by the last reload; nothing: there was none
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
