// task<T>: a coroutine that is awaited exactly once. It starts when it is awaited and resumes its caller by
// symmetric transfer, so a chain of calls costs no trip through the event loop. spawn() starts one that
// nobody awaits. What has nothing to wait for, as most often, returns task<>::done() and makes no frame.
//
// Why not asio::awaitable: it takes only Asio operations, while ours also wait for conditions inside a core
// (a slot, the next bytes of a log) and finish at once when their data is there already.
#pragma once

#include "message/recycled.hpp"

#include <coroutine>
#include <exception>
#include <optional>
#include <type_traits>
#include <utility>

namespace gw::net {

template <class T>
class task;

namespace detail {

struct promise_base : recycled // the frame's memory
{
    std::coroutine_handle<> caller = std::noop_coroutine();
    std::exception_ptr error;

    struct final_awaiter
    {
        bool await_ready() noexcept { return false; }
        template <class Promise>
        std::coroutine_handle<> await_suspend(std::coroutine_handle<Promise> self) noexcept
        {
            return self.promise().caller;
        }
        void await_resume() noexcept {}
    };

    std::suspend_always initial_suspend() noexcept { return {}; }
    final_awaiter final_suspend() noexcept { return {}; }
    void unhandled_exception() noexcept { error = std::current_exception(); }
};

template <class T>
struct promise : promise_base
{
    std::optional<T> value;

    task<T> get_return_object();
    template <class U>
    void return_value(U&& made)
    {
        value.emplace(std::forward<U>(made));
    }
    T take()
    {
        if (error) {
            std::rethrow_exception(error);
        }
        return std::move(*value);
    }
};

template <>
struct promise<void> : promise_base
{
    task<void> get_return_object();
    void return_void() noexcept {}
    void take()
    {
        if (error) {
            std::rethrow_exception(error);
        }
    }
};

} // namespace detail

template <class T = void>
class [[nodiscard]] task
{
public:
    using promise_type = detail::promise<T>;

    explicit task(std::coroutine_handle<promise_type> frame) : frame_(frame) {}
    task(task&& other) noexcept : frame_(std::exchange(other.frame_, nullptr)) {}
    task& operator=(task&&) = delete;
    ~task()
    {
        if (frame_) {
            frame_.destroy();
        }
    }

    [[nodiscard]] static task done() noexcept
        requires std::is_void_v<T>
    {
        return task{std::coroutine_handle<promise_type>{}};
    }

    bool await_ready() const noexcept { return std::is_void_v<T> && !frame_; }
    std::coroutine_handle<> await_suspend(std::coroutine_handle<> caller) noexcept
    {
        frame_.promise().caller = caller;
        return frame_;
    }
    T await_resume()
    {
        if constexpr (std::is_void_v<T>) {
            if (!frame_) {
                return;
            }
        }
        return frame_.promise().take();
    }

private:
    std::coroutine_handle<promise_type> frame_;
};

template <class T>
task<T> detail::promise<T>::get_return_object()
{
    return task<T>{std::coroutine_handle<promise>::from_promise(*this)};
}
inline task<void> detail::promise<void>::get_return_object()
{
    return task<void>{std::coroutine_handle<promise>::from_promise(*this)};
}

namespace detail {

struct detached
{
    struct promise_type : recycled
    {
        detached get_return_object() noexcept { return {}; }
        std::suspend_never initial_suspend() noexcept { return {}; }
        std::suspend_never final_suspend() noexcept { return {}; }
        void return_void() noexcept {}
        void unhandled_exception() noexcept { std::terminate(); } // run_detached catches everything
    };
};

template <class Done>
detached run_detached(task<void> work, Done done)
{
    std::exception_ptr error;
    try {
        co_await work;
    } catch (...) {
        error = std::current_exception();
    }
    done(error);
}

} // namespace detail

// Starts `work` now, on this thread. `done(exception_ptr)` is called when it has ended; it must not throw.
// REQUIRES everything that `work` refers to outlives it: a spawned coroutine takes its arguments by value.
template <class Done>
void spawn(task<void> work, Done done)
{
    detail::run_detached(std::move(work), std::move(done));
}

} // namespace gw::net
