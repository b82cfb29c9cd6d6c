#include "upstream/plan_reader.hpp"

#include <algorithm>
#include <utility>

namespace gw::upstream {

plan_reader::plan_reader(net::loop& on, body_plan plan, source from, net::interrupt& stop, std::string before)
    : plan_(std::move(plan)), from_(from), stop_(stop), progress_(on), pending_(std::move(before))
{
}

void plan_reader::abandon()
{
    abandoned_ = true;
    progress_.set();
}

std::optional<std::string_view> plan_reader::take(const piece& one)
{
    const auto most = static_cast<std::size_t>(std::min<std::uint64_t>(left_, full));
    if (from_.log != nullptr) {
        return reader_->take(most);
    }
    const std::string_view bytes =
        from_.memory.substr(static_cast<std::size_t>(one.from.begin + position_), most);
    position_ += bytes.size();
    return bytes;
}

net::task<result<plan_reader::block>> plan_reader::next()
{
    if (pending_.empty()) {
        shown_.clear(); // its memory serves again
    } else {
        shown_ = std::exchange(pending_, {});
    }
    while (at_ != plan_.pieces.size()) {
        const piece& one = plan_.pieces[at_];
        if (one.what == piece::how::literal) {
            shown_ += one.text;
            ++at_;
            continue;
        }
        if (!begun_) {
            begun_ = true;
            left_ = one.from.size();
            position_ = 0;
            if (from_.log != nullptr) {
                reader_.emplace(from_.log->read_from(one.from.begin));
            }
            if (one.what != piece::how::copy) {
                work_.emplace(one);
                // What a block usually comes to.
                shown_.reserve(shown_.size() + std::min<std::uint64_t>(one.length, full / 2 * 3));
            }
        }
        if (left_ == 0) {
            if (work_) {
                auto finished = work_->finish(shown_);
                if (!finished) {
                    co_return fail(finished);
                }
                work_.reset();
            }
            begun_ = false;
            ++at_;
            continue;
        }
        if (shown_.size() >= full) {
            co_return block{.first = shown_, .second = {}};
        }

        const auto bytes = take(one);
        if (bytes && bytes->empty()) {
            co_return std::unexpected(
                failure{.what = code::internal, .detail = "a plan reaches behind its source"}
            );
        }
        if (!bytes) {
            if (!shown_.empty()) {
                co_return block{.first = shown_, .second = {}}; // what is gathered goes out before we wait
            }
            switch (reader_->now()) {
            case payloads::replay::reader::state::failed: {
                failure why = *reader_->failed();
                co_return std::unexpected(std::move(why));
            }
            case payloads::replay::reader::state::end:
                co_return std::unexpected(
                    failure{.what = code::internal, .detail = "the body is shorter than its plan"}
                );
            case payloads::replay::reader::state::ready:
                continue;
            case payloads::replay::reader::state::waiting:
                break;
            }
            const net::interrupt::scope ends(stop_, [this] { progress_.set(); });
            reader_->when_ready([this] { progress_.set(); });
            co_await progress_.wait();
            if (stop_.fired()) {
                co_return std::unexpected(failure{.what = stop_.why()});
            }
            if (abandoned_) {
                co_return std::unexpected(failure{.what = code::internal});
            }
            continue;
        }
        left_ -= bytes->size();
        if (one.what == piece::how::copy) {
            co_return block{.first = shown_, .second = *bytes};
        }
        auto fed = work_->feed(*bytes, shown_);
        if (!fed) {
            co_return fail(fed);
        }
    }
    co_return block{.first = shown_, .second = {}};
}

} // namespace gw::upstream
