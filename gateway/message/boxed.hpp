// An optional whose value lies elsewhere: for what is large and rarely there, in an object of which thousands
// are held. Absent it takes a pointer's room. Otherwise used like std::optional; it cannot be copied.
#pragma once

#include "message/recycled.hpp"

#include <memory>
#include <type_traits>
#include <utility>

namespace gw {

template <class T>
class boxed
{
public:
    boxed() = default;
    boxed(T value) { emplace(std::move(value)); }

    template <class... Args>
    T& emplace(Args&&... args)
    {
        box_ = std::make_unique<box>(std::forward<Args>(args)...);
        return box_->value;
    }
    template <class U>
        requires(!std::is_same_v<std::remove_cvref_t<U>, boxed>)
    boxed& operator=(U&& value)
    {
        emplace(std::forward<U>(value));
        return *this;
    }
    void reset() { box_.reset(); }

    [[nodiscard]] explicit operator bool() const { return box_ != nullptr; }
    [[nodiscard]] T& operator*() const { return box_->value; }
    [[nodiscard]] T* operator->() const { return &box_->value; }

private:
    struct box : recycled
    {
        template <class... Args>
        explicit box(Args&&... args) : value(std::forward<Args>(args)...)
        {
        }
        T value;
    };

    std::unique_ptr<box> box_;
};

} // namespace gw
