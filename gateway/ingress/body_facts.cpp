// What a dialect parses: the body's beginning, or its index and the texts of its members.
#include "ingress/body.hpp"

#include "payload/media_type.hpp"
#include "upstream/plan_reader.hpp"

#include <algorithm>

namespace gw::ingress {

dialects::body_facts body::facts_in_memory()
{
    dialects::body_facts made{.json = json_, .size = size()};
    if (!json_) {
        made.first_bytes = memory_;
        return made;
    }
    made.index = &index_;
    made.text = memory_;
    made.members.reserve(index_.members.size());
    for (const auto& each : index_.members) {
        made.members.push_back({
            .name = each.key,
            .where = each.where,
            .text = memory_.substr(each.where.begin, each.where.size()),
            .list = each.kind == wire::json_kind::array,
        });
    }
    return made;
}

net::task<result<dialects::body_facts>> body::facts()
{
    if (in_memory()) {
        co_return facts_in_memory();
    }
    dialects::body_facts made;
    made.json = json_;
    made.size = framing_ == wire::framing::sized && !whole_ ? log_->size() + left_ : size();
    if (!json_) {
        if (const auto first =
                log_->view({0, std::min<std::uint64_t>(log_->size(), payloads::sniff_bytes)})) {
            made.first_bytes = texts_.emplace_back(*first);
        } else if (auto copied =
                       log_->copy({0, std::min<std::uint64_t>(log_->size(), payloads::sniff_bytes)})) {
            made.first_bytes = texts_.emplace_back(std::move(*copied));
        } else {
            upstream::plan_reader head(
                here_.loop, {.pieces = {piece::copy({0, payloads::sniff_bytes})}}, {.log = log_.get()}, stop_
            );
            auto block = co_await head.next();
            if (!block) {
                co_return fail(block);
            }
            made.first_bytes = texts_.emplace_back(block->second);
        }
        co_return made;
    }

    made.index = &index_;
    if (const auto all = log_->view({0, log_->size()})) {
        made.text = *all;
    }
    made.members.reserve(index_.members.size());
    for (const auto& each : index_.members) {
        member_text member{
            .name = each.key,
            .where = each.where,
            .text = {},
            .list = each.kind == wire::json_kind::array,
        };
        if (!made.text.empty()) {
            member.text = made.text.substr(each.where.begin, each.where.size());
        } else if (!each.holds_long) {
            if (auto copied = log_->copy(each.where)) {
                member.text = texts_.emplace_back(std::move(*copied));
            } else {
                // It lies in the file: read it back on the side threads.
                std::string& text = texts_.emplace_back();
                upstream::plan_reader back(
                    here_.loop, {.pieces = {piece::copy(each.where)}}, {.log = log_.get()}, stop_
                );
                while (true) {
                    auto block = co_await back.next();
                    if (!block) {
                        co_return fail(block);
                    }
                    if (block->size() == 0) {
                        break;
                    }
                    text.append(block->first).append(block->second);
                }
                member.text = text;
            }
        }
        if (each.holds_long && made.text.empty()) {
            member.text = {};
        }
        made.members.push_back(std::move(member));
    }
    co_return made;
}

} // namespace gw::ingress
